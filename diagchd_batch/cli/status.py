"""`status`: what the runs of an output are doing."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from diagchd_batch.cli.console import duration, fail, moment, print_json, print_pairs, print_text
from diagchd_batch.cli.options import AnyRunIdOption, JsonOption, OutputArgument, PrivateUriOption, open_run
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.scoring.liveness.run_status import RunState
    from diagchd_batch.training.training_record import TrainingState


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(status)


def status(
    output: OutputArgument,
    run_id: AnyRunIdOption = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run is doing, from its output. Works without the cluster, and tells a dead run from a living one.

    Example: diagchd-batch status out/sample
    """
    from diagchd_batch.runs.status import run_states
    from diagchd_batch.training.training_record import TrainingState

    workspace, run_id = open_run(output, private_uri, run_id, is_watching=True)
    states = run_states(workspace, run_id)
    if as_json:
        print_json([asdict(state) for state in states])
    else:
        for number, state in enumerate(states):
            if number:
                print_text()
            print_pairs(_training_pairs(state) if isinstance(state, TrainingState) else _pairs(state))
    exit_if_damaged(states)


def exit_if_damaged(states: "Sequence[RunState | TrainingState]") -> None:
    """Name each run whose record is damaged, and end the command if there is one. Call it after printing.

    Args:
        states: The states of the runs that were asked for.

    Raises:
        typer.Exit: The exit code is 1: a record is damaged.
    """
    from diagchd_batch.runs.status import is_damaged

    damaged = [state for state in states if is_damaged(state)]
    for state in damaged:
        fail(f"run {state.run_id}: {state.reason}")
    if damaged:
        raise typer.Exit(ExitCode.FAILED)


def known(number: int | None) -> str:
    """Return a number with separators, or a question mark for a run whose record does not say it."""
    return "?" if number is None else f"{number:,}"


def _pairs(state: "RunState") -> list[tuple[str, Any]]:
    from diagchd_batch.runs.status import is_damaged

    lost = "; its driver died, and the same submit resumes it" if state.status == "lost" else ""
    pairs: list[tuple[str, Any]] = [
        ("run", state.run_id),
        ("status", state.status + lost),
        *([("reason", state.reason)] if state.reason and not is_damaged(state) else []),
        ("model", f"{state.model}, {state.precision}" if state.model else "not known"),
        ("began", moment(state.started_at)),
        *([("ended", moment(state.ended_at))] if state.ended_at else []),
        ("shards", f"{state.shards_done:,} of {known(state.n_shards)}, {counted(state.attempts, 'attempt')}"),
        ("rows", f"{state.n_ok:,} ok, {sum(state.failures.values()):,} failed"),
        *((f"  {code}", f"{n:,}") for code, n in state.failures.items()),
        ("submissions", state.submissions),
    ]
    if state.workers:
        pairs.append(("workers", f"{state.workers:,} live, {counted(state.n_in_flight, 'image')} of open shards done"))
    if state.images_per_s:
        over = "" if state.workers else ", the start of the workers included"
        pairs.append(("images/s", f"{state.images_per_s:.1f}{over}"))
    if state.remaining_s is not None:
        pairs.append(("remaining", duration(state.remaining_s)))
    return pairs


def training_progress(state: "TrainingState") -> str:
    """Return how far a training is, in a few words."""
    if not state.folds:
        return "images are read"
    return f"folds {sum(fold.is_done for fold in state.folds):,} of {len(state.folds):,}"


def _training_pairs(state: "TrainingState") -> list[tuple[str, Any]]:
    from diagchd_batch.runs.status import is_damaged

    lost = "; its driver died, and the same train command resumes it" if state.status == "lost" else ""
    return [
        ("training", state.run_id),
        ("status", state.status + lost),
        *([("reason", state.reason)] if state.reason and not is_damaged(state) else []),
        ("model", state.model or "not known"),
        ("began", moment(state.started_at)),
        *([("ended", moment(state.ended_at))] if state.ended_at else []),
        ("progress", training_progress(state)),
        *(
            (
                f"  fold {fold.number}",
                "done" if fold.is_done else f"stage {fold.stage or '–'}, epoch {fold.epoch:,} of {fold.epochs:,}",
            )
            for fold in state.folds
        ),
        ("submissions", state.submissions),
    ]
