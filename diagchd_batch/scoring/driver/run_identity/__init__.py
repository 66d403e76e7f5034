"""Which run a command means.

`identity` is what a run is, with the fields that tell runs apart; `request` is what the user asks for; `registry`
decides which run that is and claims it once. `input_root` binds an output to its archive.
"""
