"""`list`: the runs of an output, or the submissions that a cluster knows."""

from dataclasses import dataclass

from diagchd_batch.cluster.job_api import SubmittedJob
from diagchd_batch.results.output import Output
from diagchd_batch.runs.cluster_jobs import connect
from diagchd_batch.runs.status import run_states
from diagchd_batch.scoring.liveness.run_status import RunState
from diagchd_batch.training.training_record import TrainingState


@dataclass(frozen=True, slots=True)
class Listing:
    """What `list` found.

    Attributes:
        runs: The states of an output's runs, the newest last. Empty if no output was named.
        submissions: The submissions that a cluster knows, the latest first. Empty if an output was named.
    """

    runs: tuple[RunState | TrainingState, ...] = ()
    submissions: tuple[SubmittedJob, ...] = ()


def list_runs(output: Output | None, address: str | None) -> Listing:
    """Return the runs of an output; or, without an output, the submissions that a cluster knows.

    Args:
        output: The output, or None to ask a cluster.
        address: The cluster's address, which is not asked if an output is named.

    Raises:
        UsageError: Neither is named, or the output holds no run.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    if output is None:
        return Listing(submissions=tuple(connect(address).list()))
    return Listing(runs=tuple(run_states(output)))
