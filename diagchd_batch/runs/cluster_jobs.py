"""Reaches a cluster's job API on behalf of `list`, `logs` and `stop`."""

from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.errors import UsageError
from diagchd_batch.escaping import command_line
from diagchd_batch.output_layout import check_run_id
from diagchd_batch.runs.run_lookup import id_with_beginning


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


def latest_submission(name: str, address: str | None) -> tuple[ClusterJobs, str]:
    """Return the cluster and the id of a run's last submission to it.

    Args:
        name: The run's id, or a beginning of it that no other run's id on that cluster has.
        address: The cluster's address, or None if none is named.

    Raises:
        UsageError: No cluster is named, the cluster knows no submission of the run, or several runs have ids that begin
            so.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    jobs = connect(address)
    run_id = id_with_beginning(check_run_id(name), jobs.run_ids())
    submission_id = run_id and jobs.latest(run_id)
    if not submission_id:
        raise UsageError(
            f"the cluster at {jobs.address} knows no submission of run {name}; "
            f"`{command_line('list', '--address', jobs.address)}` shows those that it knows, each as the id of its run "
            "with -s and a number"
        )
    return jobs, submission_id
