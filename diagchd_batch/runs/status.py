"""`status`: what the runs of an output are doing, from the output alone."""

from datetime import UTC, datetime

from diagchd_batch.errors import UsageError
from diagchd_batch.results.output import Output
from diagchd_batch.runs.run_lookup import all_run_ids
from diagchd_batch.scoring.liveness.run_status import DAMAGED, RunState, run_state
from diagchd_batch.training.training_record import TrainingState, training_states

_STILL_PLANNING = datetime.max.replace(tzinfo=UTC)  # a run without a record has only just begun


def run_states(output: Output, run_id: str | None = None) -> list[RunState | TrainingState]:
    """Return the states of one run or of all runs of an output, trainings included, the newest last.

    Args:
        output: The output.
        run_id: The run's id; all runs by default.

    Raises:
        UsageError: The output holds no such run.
    """
    trainings = training_states(output, run_id)
    if run_id:
        return [*trainings] or [run_state(output, run_id)]
    states: list[RunState | TrainingState] = [*trainings]
    try:
        states += [run_state(output, name) for name in all_run_ids(output)]
    except UsageError:
        if not trainings:
            raise
    return sorted(states, key=lambda state: (state.started_at or _STILL_PLANNING, state.run_id))


def is_damaged(state: RunState | TrainingState) -> bool:
    """Tell whether the run's record cannot be read. `state.reason` then names the file and the remedy."""
    return state.status == DAMAGED
