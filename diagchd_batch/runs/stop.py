"""`stop`: ends runs after the shards in progress, by way of their output, or at once, by way of their cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from diagchd_batch.cluster.job_api import run_of_submission
from diagchd_batch.results.output import Output
from diagchd_batch.runs.cluster_jobs import latest_submission
from diagchd_batch.runs.run_lookup import all_run_ids
from diagchd_batch.runs.status import run_states
from diagchd_batch.scoring.liveness.run_status import live_submissions
from diagchd_batch.scoring.liveness.stop_conditions import request_stop
from diagchd_batch.training.training_record import TrainingState, training_ids, training_tree


@dataclass(frozen=True, slots=True)
class StopAnswer:
    """Whether a run was asked to end. If not, it does not run, and `status` says what it is instead.

    Attributes:
        run_id: The run's id.
        status: What it was before it was asked.
        asked: Whether it was asked.
        kind: ``run`` for one that scores, which ends after the shards in progress; ``training`` for one that saves its
            folds and ends.
    """

    run_id: str
    status: str
    asked: bool
    kind: Literal["run", "training"] = "run"


@dataclass(frozen=True, slots=True)
class EndAnswer:
    """Whether a run's last submission to a cluster was told to end. If not, it had ended already."""

    run_id: str
    submission_id: str
    asked: bool


def stop_after_shards(output: Output, run_id: str | None = None) -> Iterator[StopAnswer]:
    """Ask one run or all runs of an output to start no further shard, and trainings to end at a checkpoint.

    A training that scores what its folds held out, or repairs that run, ends after the shards in progress.

    Args:
        output: The output.
        run_id: The run's id; all runs by default.

    Yields:
        For each run its status, and whether it was asked.

    Raises:
        UsageError: The output holds no such run.
    """
    for state in run_states(output, run_id):
        is_training = isinstance(state, TrainingState)
        tree = training_tree(output) if is_training else output
        live = live_submissions(tree, state.run_id)
        for submission in live:
            request_stop(tree.private, state.run_id, submission)
        yield StopAnswer(state.run_id, state.status, asked=bool(live), kind="training" if is_training else "run")
        held_out = state.out_of_fold_run_id if isinstance(state, TrainingState) else None
        if run_id and held_out and live_submissions(output, held_out):  # a finished training repairs that run
            yield from stop_after_shards(output, held_out)


def live_run_ids(output: Output) -> list[str]:
    """Return the ids of the runs and trainings whose driver lives.

    Raises:
        UsageError: The output holds no run.
    """
    tree, trainings = training_tree(output), training_ids(output)
    runs = output.run_ids() if trainings else all_run_ids(output)
    live = [run_id for run_id in runs if live_submissions(output, run_id)]
    return live + [run_id for run_id in trainings if live_submissions(tree, run_id)]


def stop_at_once(name: str, address: str | None) -> EndAnswer:
    """End a run on a cluster at once.

    The shards in progress are abandoned. The same submit resumes the run.

    Args:
        name: The run's id, or a beginning of it that no other run's id on that cluster has.
        address: The cluster's address, or None if none is named.

    Returns:
        The run's last submission, and whether it was told to end because it still ran.

    Raises:
        UsageError: No cluster is named, the cluster knows no submission of the run, or several runs have ids that begin
            so.
        ConfigError: The cluster refuses this client.
        RunFault: The cluster does not answer.
    """
    jobs, submission_id = latest_submission(name, address)
    return EndAnswer(run_of_submission(submission_id), submission_id, asked=jobs.stop(submission_id))
