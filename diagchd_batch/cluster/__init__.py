"""Starts Ray on this machine, joins the Ray that a job runs in, and submits jobs to a cluster.

`local_cluster` starts a private Ray for one run, `existing_cluster` joins the one that Ray started this process on, and
`job_api` talks to a cluster from outside. A new check of a node goes into `node_checks`.
"""
