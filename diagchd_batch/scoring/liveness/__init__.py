"""Whether the processes of a run live, how far it is, and when it stops.

* `heartbeats`: each driver and each worker renews a small file while it lives.
* `shard_attempts`: markers that say which worker works on a shard, and whether it died there.
* `driver_log`: what a run's driver printed, kept in the private tree.
* `run_status`: reads the files of the three above for `status` and `stop`.
* `progress_events`: the events that the command line shows.
* `stall_watchdog`: ends a worker that makes no progress.
* `stop_conditions`: when a run begins no further shard. `until_deadline` parses the deadline of `--until`.
"""
