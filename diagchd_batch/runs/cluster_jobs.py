"""Reaches a cluster's job API on behalf of `list`, `logs` and `stop`."""

from collections.abc import Mapping

from diagchd_batch.cluster.job_api import ClusterJobs, cluster_address
from diagchd_batch.errors import UsageError
from diagchd_batch.output_layout import check_run_id


def connect(address: str | None, environ: Mapping[str, str]) -> ClusterJobs:
    """Return the jobs of the cluster at `address`, or at the address that Ray's variables name.

    Args:
        address: The cluster's address, such as ``http://head:8265``; None to use `environ`.
        environ: The environment variables.

    Raises:
        UsageError: No cluster is named.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    found = cluster_address(address, environ)
    if found is None:
        raise UsageError("no cluster is named; add --address http://head:8265, or give the output of a run")
    return ClusterJobs(found)


def latest_submission(run_id: str, address: str | None, environ: Mapping[str, str]) -> tuple[ClusterJobs, str]:
    """Return the cluster and the id of the run's last submission to it.

    Args:
        run_id: The run's id.
        address: The cluster's address, such as ``http://head:8265``; None to use `environ`.
        environ: The environment variables.

    Raises:
        UsageError: No cluster is named, or the cluster knows no submission of the run.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    jobs = connect(address, environ)
    submission_id = jobs.latest(check_run_id(run_id))
    if submission_id is None:
        raise UsageError(
            f"the cluster at {jobs.address} knows no submission of run {run_id}; `diagchd-batch list --address "
            f"{jobs.address}` shows those that it knows"
        )
    return jobs, submission_id
