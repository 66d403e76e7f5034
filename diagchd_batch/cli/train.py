"""`train`: trains a model on an archive."""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.cluster_client import pass_on, run_on_cluster
from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import (
    AddressOption,
    ConfigArgument,
    JsonOption,
    NewRunOption,
    OwnRunIdOption,
    SetOption,
    run_request,
)
from diagchd_batch.cli.silence import LINE_INTERVAL_S
from diagchd_batch.errors import UsageError
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.training.run_training import FoldNote


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    run_id: OwnRunIdOption = None,
    new_run: NewRunOption = False,
    until: Annotated[
        str | None,
        typer.Option(help="Save the folds and end by then: 06:00, 2026-11-24T06:00+01:00 or 7h30m."),
    ] = None,
    address: AddressOption = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="On a cluster: print the submission's id and do not wait for the end.")
    ] = False,
    preview: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Only write a private page of this many augmented images with their masks."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on the studies of a job file with a block `training`, here or on a cluster, and write its package.

    The same command again goes on with a training that was interrupted or stopped. With --json, progress is one JSON
    object a line on stderr.

    Exit codes: 0 done or stopped, 1 failed (resumable; also if output.privacy_check finds identifiers), 2 usage or
    configuration, 3 done with failed inputs among the held-out images, 4 fingerprint mismatch, 130/143 interrupted
    (resumable; a training on a cluster goes on without the client).

    Example: diagchd-batch train mine/train.yaml --until 06:00
    """
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.runs.cluster_training import follow_training, train_on_cluster
    from diagchd_batch.runs.train import TrainOptions, train_here
    from diagchd_batch.scoring.liveness.driver_log import DriverLog
    from diagchd_batch.scoring.liveness.until_deadline import parse_deadline

    cluster = cluster_address(address, os.environ)
    if no_wait and not cluster:
        raise UsageError("--no-wait needs a cluster; name it with --address, or omit --no-wait")
    deadline = parse_deadline(until, datetime.now(UTC)) if until else None
    request = run_request(run_id, new_run, None, None, None)
    job = load_job(config, overrides, os.environ)
    if preview is not None:
        _preview(job, preview, as_json)
        return
    if cluster:
        run_on_cluster(
            job,
            request,
            submit=lambda: train_on_cluster(TrainOptions(job, os.environ, sys.argv[1:], request, deadline), cluster),
            follow=lambda submission: follow_training(job, submission, write_log=pass_on, say=say),
            no_wait=no_wait,
            as_json=as_json,
        )
    with DriverLog() as log:
        progress = JsonTrainProgress(log.write) if as_json else LineTrainProgress(log.write)
        try:
            outcome = train_here(TrainOptions(job, os.environ, sys.argv[1:], request, deadline), progress, log)
        except RunInterrupted as interruption:
            say(f"interrupted ({interruption}); the last checkpoints stay, and the same command goes on")
            raise typer.Exit(interruption.exit_code) from None
    if as_json:
        print_json(asdict(outcome))
    elif outcome.ending:
        say(f"stopped ({outcome.ending}); the last checkpoints stay, and the same command goes on")
    else:
        print_pairs(
            [
                ("training", outcome.run_id + (", finished before" if outcome.repeated else "")),
                ("folds", outcome.n_folds),
                ("model package", outcome.package_uri),
                *([("out-of-fold run", outcome.out_of_fold_run_id)] if outcome.out_of_fold_run_id else []),
                ("report", outcome.report_uri or "not written"),
            ]
        )
        say(f"to score with it, set model.name in a job file to {_as_model_name(str(outcome.package_uri))}")
    raise typer.Exit(outcome.exit_code)


def _preview(job: "JobConfig", n_images: int, as_json: bool) -> None:
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.runs.augmented_pages import preview_augmentation

    try:
        page = preview_augmentation(job, os.environ, n_images, LineTrainProgress())
    except RunInterrupted as interruption:
        say(f"interrupted ({interruption}); no page was written")
        raise typer.Exit(interruption.exit_code) from None
    if as_json:
        print_json({"preview": page})
        return
    print_pairs([("augmented images", page)])
    say("the page shows pictures that can name patients; keep it in the private tree")


def _as_model_name(uri: str) -> str:
    return uri if "/" in uri else f"./{uri}"


class LineTrainProgress:
    """Writes a line every five seconds, and one for each message.

    Args:
        write: Receives each line.
    """

    def __init__(self, write: Any = say) -> None:
        self._write = write
        self._last_s = float("-inf")

    def listed(self, n_objects: int) -> None:
        """See `TrainProgress.listed`."""
        if self._is_due():
            self._write(f"{counted(n_objects, 'object')} listed")

    def cached(self, n_done: int, n_parts: int) -> None:
        """See `TrainProgress.cached`."""
        if n_done == n_parts or self._is_due():
            self._write(f"images read: {n_done:,} of {counted(n_parts, 'part')}")

    def folds(self, notes: "Sequence[FoldNote | None]") -> None:
        """See `TrainProgress.folds`."""
        if self._is_due():
            self._write("; ".join(_line(number, note) for number, note in enumerate(notes)))

    def message(self, text: str) -> None:
        """See `TrainProgress.message`."""
        self._write(text)

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._last_s < LINE_INTERVAL_S:
            return False
        self._last_s = now_s
        return True


class JsonTrainProgress:
    """Writes events as one JSON object a line, for programs: listed, cached, folds and message.

    Args:
        write: Receives each line.
    """

    def __init__(self, write: Any = say) -> None:
        self._write = write
        self._told: list[Any] = []

    def listed(self, n_objects: int) -> None:
        """See `TrainProgress.listed`."""
        self._tell("listed", n_objects=n_objects)

    def cached(self, n_done: int, n_parts: int) -> None:
        """See `TrainProgress.cached`."""
        self._tell("cached", n_done=n_done, n_parts=n_parts)

    def folds(self, notes: "Sequence[FoldNote | None]") -> None:
        """See `TrainProgress.folds`. Notes that have not changed are not told again."""
        told = [None if note is None else note.model_dump(mode="json") for note in notes]
        if told != self._told:
            self._told = told
            self._tell("folds", folds=told)

    def message(self, text: str) -> None:
        """See `TrainProgress.message`."""
        self._tell("message", text=text)

    def _tell(self, event: str, **facts: Any) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": moment, "event": event, **facts}))


def _line(number: int, note: "FoldNote | None") -> str:
    if note is None:
        return f"fold {number}: waits"
    if note.finished:
        return f"fold {number}: done"
    loss = "" if note.loss is None else f", loss {note.loss:.3f}"
    return f"fold {number}: {note.stage}, epoch {note.epoch:,} of {note.epochs:,}{loss}"
