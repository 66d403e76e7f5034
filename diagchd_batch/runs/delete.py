"""`delete`: removes a run, or a subject who withdrew consent, from an output and its private tree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.results.datasets import holds_no_run
from diagchd_batch.results.deletion.apply_changes import apply, decide, unfinished_deletion, withdraw
from diagchd_batch.results.deletion.records import DeletionNote
from diagchd_batch.results.deletion.stage_changes import (
    Prepared,
    place_of,
    prepare_run_deletion,
    prepare_subject_deletion,
)
from diagchd_batch.results.deletion.subject_search import find_subject
from diagchd_batch.results.output import Output
from diagchd_batch.runs.run_lookup import OnNote, ignore_note
from diagchd_batch.scoring.liveness.heartbeats import LOST_AFTER_S
from diagchd_batch.scoring.liveness.run_status import live_submissions
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.training.training_record import read_training_record, training_tree

_SHOWN = 10


@dataclass(frozen=True)
class Deletion:
    """What `delete` did, or would do.

    Attributes:
        done: Whether it was done. If not, it only shows what would be done.
        kind: What is removed: a run, or the rows of a subject.
        run_ids: The runs that are removed or that lose rows.
        n_studies: The subject's studies; None for a run.
        n_images: The subject's image files; None for a run.
        n_rows: Rows of score files that are removed.
        n_shards: Score files that are written again without some of their rows.
        replaced: Paths below the output of the files that are written again, or URIs in a private tree elsewhere.
        removed: Those of the files that are removed.
        unknown: Files that are not this program's. They were searched for tokens and file names.
        doubtful: Files that have an own id of the subject as a word, which may be chance.
        to_evaluate: Runs whose derived files are removed, so that `evaluate` and `report` have to make them again.
        packages: Places of the model packages that were trained with the subject. They are not changed.
    """

    done: bool
    kind: Literal["run", "subject"]
    run_ids: tuple[str, ...]
    n_studies: int | None
    n_images: int | None
    n_rows: int
    n_shards: int
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    unknown: tuple[str, ...]
    doubtful: tuple[str, ...]
    to_evaluate: tuple[str, ...]
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeletionAnswer:
    """The answer of `delete`: the note of an earlier deletion that it finished, if there was one, and its own."""

    finished_earlier: DeletionNote | None
    deletion: Deletion | None


def delete(
    output: Output,
    run_id: str | None = None,
    subject: str | None = None,
    *,
    confirmed: bool = False,
    on_note: OnNote = ignore_note,
) -> DeletionAnswer:
    """Remove a run or a subject from an output, or show what that would remove.

    If an earlier deletion was killed, it is finished first. Then both names may be None.

    Args:
        output: The output, with its private tree.
        run_id: The run to remove as a whole; None to remove a subject.
        subject: The subject's token or own id; None to remove a run.
        confirmed: Whether to do it. If not, nothing is changed.
        on_note: Receives a sentence about an earlier deletion that is finished.

    Returns:
        What was done, or would be done.

    Raises:
        UsageError: There is nothing of that name, a run continues the one to remove, or a file names the subject that
            this program cannot change.
        RunFault: A run of the output is live, a file cannot be read, or another deletion began meanwhile.
    """
    earlier = _finish_earlier(output, confirmed, on_note)
    if run_id is None and subject is None and earlier is not None:
        return DeletionAnswer(earlier, None)
    if (run_id is None) == (subject is None):
        raise UsageError("name what to delete: either a run with --run-id or a subject with --subject")
    try:
        return DeletionAnswer(earlier, _delete(output, run_id, subject, confirmed))
    except UsageError:
        if earlier is None:
            raise
        on_note("nothing else of that name is left in this output")
        return DeletionAnswer(earlier, None)


def _finish_earlier(output: Output, confirmed: bool, on_note: OnNote) -> DeletionNote | None:
    journal = unfinished_deletion(output)
    if journal is None:
        return None
    if not confirmed:
        raise UsageError(
            "an earlier deletion of this output was interrupted; give the command again with --yes, which finishes it "
            "before it does anything else"
        )
    _refuse_live_runs(output)
    note = apply(output, journal)
    on_note(f"an earlier deletion was interrupted and is finished now: {note.kind}, runs {', '.join(note.run_ids)}")
    return note


def _delete(output: Output, run_id: str | None, subject: str | None, confirmed: bool) -> Deletion:
    _refuse_live_runs(output)
    records = {record.run_id: record for record in output.runs()}
    planned = output.planned_run_ids()
    if not records and not planned and not output.run_ids():
        raise holds_no_run(output.storage.uri)
    if not planned:
        raise UsageError(
            "the private tree of this output is not at hand, and without it nothing can be deleted; name it with "
            "--private-uri"
        )
    if run_id is not None:
        prepared = prepare_run_deletion(output, records, run_id)
        n_studies = n_images = None
    else:
        assert subject is not None
        plans = {name: open_plan(output.private, name) for name in planned}
        found = find_subject(plans.values(), subject)
        n_studies, n_images = found.n_studies, found.n_images
        prepared = prepare_subject_deletion(output, records, plans, found, stage=confirmed)
        _refuse_what_stays(prepared)
    if confirmed:
        journal = decide(output, prepared)
        try:
            _refuse_live_runs(output)  # a run that began meanwhile and has not seen the journal shows by its heartbeat
        except RunFault:
            withdraw(output)
            raise
        apply(output, journal)
    return Deletion(
        done=confirmed,
        kind=prepared.note.kind,
        run_ids=prepared.note.run_ids,
        n_studies=n_studies,
        n_images=n_images,
        n_rows=prepared.note.n_rows,
        n_shards=len(prepared.note.shards),
        replaced=tuple(place_of(output, file.tree, file.key) for file in prepared.replaced),
        removed=tuple(place_of(output, file.tree, file.key) for file in prepared.removed),
        unknown=tuple(prepared.unknown),
        doubtful=tuple(prepared.doubtful),
        to_evaluate=tuple(prepared.to_evaluate),
        packages=tuple(_packages(output, prepared.trainings)),
    )


def _packages(output: Output, trainings: Sequence[str]) -> Iterator[str]:
    tree = training_tree(output) if trainings else None
    for run_id in trainings:
        assert tree is not None
        record = read_training_record(tree, run_id)
        yield record.package_uri if record else f"that of training {run_id}, whose record is missing"


def _refuse_live_runs(output: Output) -> None:
    live = [
        run_id for run_id in sorted({*output.run_ids(), *output.planned_run_ids()}) if live_submissions(output, run_id)
    ]
    if live:
        raise RunFault(
            f"run {', '.join(live)} of this output is being scored; wait for its end or stop it with "
            "the command `stop`, then delete. If its process was killed, this is known "
            f"{LOST_AFTER_S:.0f} s after its last sign of life: wait, and give the command again"
        )


def _refuse_what_stays(prepared: Prepared) -> None:
    if prepared.holding:
        shown = "\n  ".join(prepared.holding[:_SHOWN])
        more = f"\n  and {len(prepared.holding) - _SHOWN} more" if len(prepared.holding) > _SHOWN else ""
        raise UsageError(
            "nothing was deleted, because these files name the subject and this program cannot change them; remove "
            f"them or move them out of the output, then give the command again:\n  {shown}{more}"
        )
