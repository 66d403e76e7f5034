"""The driver of a run: one process that prepares the job, plans, starts the workers and records how the run ended.

`prepare_job` opens and checks the job, with `storage_and_limit_checks` and `actor_plan`. `run_identity` finds the run
that the job means, and `run_job` takes it from the plan to finished tables. Meanwhile `failure_monitor` ends a run that
fails too often or stands still, and `run_record_writer` keeps the run's record. Only `ray_data` and `prometheus` depend
on Ray.
"""
