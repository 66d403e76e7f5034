"""The record of a training, and the place of everything that a training keeps.

A training has its own tree below the private tree. Its plan, checkpoints, log and heartbeats lie there as those of a
run that scores lie in the private tree, so the two kinds of runs never mix in tables, and the same code reads both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from diagchd_batch import output_layout
from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.results.output import Output
from diagchd_batch.scoring.liveness.run_status import DAMAGED, live_submissions
from diagchd_batch.storage import open_store
from diagchd_batch.uris import join_uri

if TYPE_CHECKING:
    from diagchd_batch.training.run_training import FoldNote

TRAINING_TREE = output_layout.TRAINING_TREE_PREFIX.rstrip("/")


@pydantic_dataclass(frozen=True)
class FoldRecord:
    """How far a fold is.

    Attributes:
        number: The fold's number, from 0.
        stage: The name of the stage that is trained; None before the first.
        epoch: The epoch of the stage, from 1; 0 before the first.
        epochs: The largest number of epochs of the stage.
        is_done: Whether the fold is trained.
        figures: Name → figure of the latest epoch on the fold's validation part.
    """

    number: int
    stage: str | None = None
    epoch: int = 0
    epochs: int = 0
    is_done: bool = False
    figures: dict[str, float] = field(default_factory=dict)


class TrainingRecord(JsonRecord):
    """What was trained, with what, and with which outcome. It is identified data and lies in the private tree.

    Attributes:
        run_id: The training's run id.
        status: As of a run that scores.
        exit_code: The exit code of the command; None while it runs.
        model: Name of the new model.
        architecture: The name of the network.
        package_uri: Where the package is written.
        n_studies: Studies of the cohort.
        n_subjects: Subjects of the cohort.
        n_images: Image files of the plan.
        folds: How far each fold is.
        started_at: When the first submission began.
        ended_at: When it ended.
        submissions: How often it was submitted.
        reason: Why it ended early; may name files.
        out_of_fold_run_id: The run of the out-of-fold predictions in the output; None before it is finished, and if no
            study was held out.
        full_config: The job file.
        command: The words of the command.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    remedy: ClassVar[str] = "restore it from a backup, or delete it and give the train command again"

    run_id: str
    status: Literal["running", "finished", "failed", "interrupted", "stopped"]
    exit_code: int | None = None
    model: str
    architecture: str
    package_uri: str
    n_studies: int
    n_subjects: int
    n_images: int
    folds: tuple[FoldRecord, ...] = ()
    started_at: datetime
    ended_at: datetime | None = None
    submissions: int = 1
    reason: str | None = None
    out_of_fold_run_id: str | None = None
    full_config: dict[str, object]
    command: list[str]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The state of a training. A field whose source is missing is None.

    Attributes:
        kind: The word ``training``, which tells it from a run that scores.
        run_id: The training's run id.
        status: One of those of `scoring.liveness.run_status.RunState`.
        reason: Where the reason can be read why it ended early, or what is damaged.
        model: Name of the new model.
        started_at: When the first submission began.
        ended_at: When it ended; None while its driver lives.
        exit_code: The exit code of a training that ended.
        folds: How far each fold is.
        submissions: How often it was submitted.
        out_of_fold_run_id: The run of the out-of-fold predictions; None before it is finished.
    """

    kind: str
    run_id: str
    status: str
    reason: str | None
    model: str | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    folds: tuple[FoldRecord, ...]
    submissions: int
    out_of_fold_run_id: str | None = None


def training_tree(output: Output) -> Output:
    """Return the tree of an output's trainings, which is read and written like an output.

    Args:
        output: The output, with its private tree.
    """
    store = open_store(join_uri(output.private.uri, TRAINING_TREE), owner_only=True)
    return Output(store, store)


def training_ids(output: Output) -> list[str]:
    """Return the run ids of an output's trainings, in ascending order.

    Args:
        output: The output, with its private tree.
    """
    prefix = f"{TRAINING_TREE}/"
    keys = (info.key.removeprefix(prefix) for info in output.private.list(prefix + output_layout.RUNS_PREFIX))
    return sorted(run_id for key in keys for run_id in output_layout.run_ids_in(key) if key.endswith("/identity.json"))


def training_states(output: Output, run_id: str | None = None) -> list[TrainingState]:
    """Return the states of one training or of all trainings of an output, in ascending order of run ids.

    Args:
        output: The output, with its private tree.
        run_id: A run id. There is no state for the id of a run that scores, or of none.
    """
    names = [name for name in training_ids(output) if run_id in (None, name)]
    tree = training_tree(output)
    return [_state(tree, name) for name in names]


def read_training_record(tree: Output, run_id: str) -> TrainingRecord | None:
    """Return the record of a training, or None before there is one.

    Args:
        tree: What `training_tree` returns.
        run_id: The training's run id.

    Raises:
        DamagedRecordError: It cannot be read.
    """
    return TrainingRecord.read(tree.private, output_layout.run_record(run_id))


def write_training_record(tree: Output, record: TrainingRecord) -> None:
    """Replace the record of a training.

    Args:
        tree: What `training_tree` returns.
        record: The record.
    """
    record.write(tree.private, output_layout.run_record(record.run_id))


class TrainingRecordWriter:
    """Writes the record of a training during one submission. It continues the record of earlier submissions.

    Args:
        tree: What `training_tree` returns.
        record: What this submission knows of the training at its start.
    """

    def __init__(self, tree: Output, record: TrainingRecord) -> None:
        self._tree = tree
        self._record = record
        if earlier := read_training_record(tree, record.run_id):
            kept = {"folds": earlier.folds, "started_at": earlier.started_at, "submissions": earlier.submissions + 1}
            self._record = record.model_copy(update=kept)
        self.write()

    @property
    def n_folds(self) -> int:
        """The number of folds; 0 before they are known."""
        return len(self._record.folds)

    def write(self, **changes: object) -> None:
        """Change fields of the record.

        Args:
            changes: Field of `TrainingRecord` → its new value.
        """
        self._record = self._record.model_copy(update=changes)
        write_training_record(self._tree, self._record)

    def begin_folds(self, numbers: Sequence[int]) -> None:
        """Record the folds, unless an earlier submission did.

        Args:
            numbers: The number of each fold, from 0.
        """
        if len(self._record.folds) != len(numbers):
            self.write(folds=tuple(FoldRecord(number) for number in numbers))

    def note(self, notes: "Sequence[FoldNote | None]") -> None:
        """Record the epochs that have changed.

        Args:
            notes: How far each fold is; None for a fold that has not begun.
        """
        folds = tuple(
            known if note is None else FoldRecord(note.fold, note.stage, note.epoch, note.epochs, note.finished)
            for known, note in zip(self._record.folds, notes, strict=True)
        )
        if folds != self._record.folds:
            self.write(folds=folds)

    def finish_folds(self) -> None:
        """Record that all folds are trained."""
        self.write(
            folds=tuple(
                FoldRecord(fold.number, fold.stage, fold.epoch, fold.epochs, True) for fold in self._record.folds
            )
        )


def _state(tree: Output, run_id: str) -> TrainingState:
    record, damage = None, None
    try:
        record = read_training_record(tree, run_id)
    except DamagedRecordError as error:
        damage = str(error)
    live = live_submissions(tree, run_id)
    status = DAMAGED if damage else record.status if record else "planning"
    if status in ("running", "planning") and not live:
        status = "lost"
    elif live and status not in ("finished", DAMAGED):
        status = "running" if record else "planning"
        if all(tree.private.stat(output_layout.stop_request(run_id, name)) for name in live):
            status = "stopping"
    place = f"in the private tree, {TRAINING_TREE}/{output_layout.run_record(run_id)}, reason"
    return TrainingState(
        kind="training",
        run_id=run_id,
        status=status,
        reason=damage or (f"the full text is {place}" if record and record.reason and not live else None),
        model=record.model if record else None,
        started_at=record.started_at if record else None,
        ended_at=record.ended_at if record and not live else None,
        exit_code=record.exit_code if record else None,
        folds=record.folds if record else (),
        submissions=record.submissions if record else 0,
        out_of_fold_run_id=record.out_of_fold_run_id if record else None,
    )
