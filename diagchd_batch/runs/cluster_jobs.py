"""Reaches a cluster's job API on behalf of `list`, `logs` and `stop`."""

from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.errors import UsageError
from diagchd_batch.escaping import command_line
from diagchd_batch.output_layout import check_run_id


def connect(address: str | None) -> ClusterJobs:
    """Return the jobs of the cluster at `address`, such as ``http://head:8265``.

    Raises:
        UsageError: No cluster is named.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    if address is None:
        raise UsageError("no cluster is named; add --address http://head:8265, or give the output of a run")
    return ClusterJobs(address)


def latest_submission(run_id: str, address: str | None) -> tuple[ClusterJobs, str]:
    """Return the cluster and the id of the run's last submission to it.

    Args:
        run_id: The run's id.
        address: The cluster's address, or None if none is named.

    Raises:
        UsageError: No cluster is named, or the cluster knows no submission of the run.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    jobs = connect(address)
    submission_id = jobs.latest(check_run_id(run_id))
    if submission_id is None:
        raise UsageError(
            f"the cluster at {jobs.address} knows no submission of run {run_id}; "
            f"`{command_line('list', '--address', jobs.address)}` shows those that it knows"
        )
    return jobs, submission_id
