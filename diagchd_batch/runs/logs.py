"""`logs`: what a run's latest driver printed, from its cluster or from its output."""

from diagchd_batch.errors import DiagchdBatchError, UsageError
from diagchd_batch.results.output import Output
from diagchd_batch.runs.cluster_jobs import latest_submission
from diagchd_batch.runs.run_lookup import OnNote, ignore_note, newest_run_id
from diagchd_batch.runs.status import run_states
from diagchd_batch.scoring.liveness.driver_log import read_log
from diagchd_batch.training.training_record import TrainingState, training_ids, training_tree


def read_logs(
    output: Output | None,
    run_id: str | None,
    address: str | None,
    on_note: OnNote = ignore_note,
) -> str:
    """Return the log of a run's latest submission.

    The cluster is asked first if one is named. If it does not answer, the log that the output keeps is returned.

    Args:
        output: The output that holds the run, or None if only the cluster can be asked.
        run_id: The run; the one of the output that began last by default. A cluster alone also takes the beginning of
            an id.
        address: The cluster's address, or None if none is named.
        on_note: Receives a sentence for the user about what is left out or asked instead.

    Raises:
        UsageError: Neither an output nor a run is named, or the run is not known.
        RunFault: The cluster does not answer, and no output is named.
    """
    if output is None:
        if run_id is None:
            raise UsageError("name the run's output, or a run with --run-id and its cluster with --address")
        return _cluster_log(run_id, address, on_note)
    run_id = run_id or _newest_run_id(output, on_note)
    if address:
        try:
            jobs, submission_id = latest_submission(run_id, address)
            return jobs.log(submission_id)
        except DiagchdBatchError as error:
            on_note(f"{error}; this is the log that the output keeps")
    return _kept_log(output, run_id)


def _newest_run_id(output: Output, on_note: OnNote) -> str:
    """Return the id of the run that began last; of a training, if it began later or there is no other run."""
    trainings = [state for state in run_states(output) if isinstance(state, TrainingState)]
    return run_states(output)[-1].run_id if trainings else newest_run_id(output, on_note)


def _cluster_log(run_id: str, address: str | None, on_note: OnNote) -> str:
    try:
        jobs, submission_id = latest_submission(run_id, address)
        return jobs.log(submission_id)
    except DiagchdBatchError:
        on_note("name the run's output as well (logs OUTPUT) to print the log that it keeps")
        raise


def _kept_log(output: Output, run_id: str) -> str:
    """Return the log of the latest driver on a cluster, or a sentence about the run if none left a log.

    That sentence comes from the run's state, because the full text in the record may name places and files.
    """
    kept = training_tree(output).private if run_id in training_ids(output) else output.private
    if (text := read_log(kept, run_id)) is not None:
        return text
    (state,) = run_states(output, run_id)
    reason = f": {state.reason}" if state.reason else ""
    return f"no log is kept of run {run_id}; it is {state.status}{reason}\n"
