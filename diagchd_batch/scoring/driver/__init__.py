"""The driver of a run: one process that prepares the job, plans, starts the workers and records how the run ended.

`preparation` opens and checks the job, `run_identity` finds the run that it means, and `execution` takes it from the
plan to finished tables. Only `ray_data` and `prometheus` depend on Ray.
"""
