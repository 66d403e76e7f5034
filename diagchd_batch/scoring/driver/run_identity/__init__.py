"""Which run a command means.

`identity` is what a run is, with the fields that tell runs apart; `run_request` is what the user asks for; `claims`
decides which run that is and claims it once. `archive_binding` binds an output to its archive.
"""
