"""Whether the processes of a run live, how far it is, and when it stops.

`heartbeats`, `attempts` and `run_log` write files to the private tree; `run_status` reads them for `status` and `stop`.
`progress` declares the events that the command line shows.
"""
