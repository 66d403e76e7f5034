"""The problems that `verify` reports, with what to do about each."""

from dataclasses import dataclass, field
from enum import StrEnum

from diagchd_batch.results.counts import RunCounts

MAX_PROBLEMS_LISTED = 1_000
"""Problems beyond this number are counted but not listed, so that a report stays small."""


class ProblemKind(StrEnum):
    """The kinds of problems of an output."""

    NO_RUN_RECORD = "no_run_record"
    DAMAGED_RUN_RECORD = "damaged_run_record"
    UNREADABLE_PLAN = "unreadable_plan"
    UNFINISHED = "unfinished"
    ALTERED_PLAN = "altered_plan"
    FOREIGN_FILE = "foreign_file"
    MISSING_SHARD = "missing_shard"
    UNPLANNED_SHARD = "unplanned_shard"
    UNREADABLE_SHARD = "unreadable_shard"
    FOREIGN_SHARD = "foreign_shard"
    ALTERED_SHARD = "altered_shard"
    MISSING_IMAGE = "missing_image"
    MISSING_FRAME = "missing_frame"
    DUPLICATE_ROW = "duplicate_row"
    UNPLANNED_ROW = "unplanned_row"
    INCONSISTENT_ROW = "inconsistent_row"
    WRONG_PROBABILITY = "wrong_probability"
    DAMAGED_MASK = "damaged_mask"
    WRONG_PIXEL_COUNTS = "wrong_pixel_counts"
    WRONG_MILLIMETRES = "wrong_millimetres"
    MISSING_SOURCES = "missing_sources"
    PREDICTIONS_DIFFER = "predictions_differ"
    COUNTS_DIFFER = "counts_differ"
    BROKEN_LINEAGE = "broken_lineage"
    DERIVED_TABLE_DIFFERS = "derived_table_differs"


_AGAIN = "give the command that started the run, which"
RESTORE = f"restore the file from a backup; or delete it and {_AGAIN} scores the shard again"
_RESUME = "resume the run with the command that started it"
_REPORT = "the program that wrote it is at fault: report this, and score again with --new-run"

REMEDIES: dict[ProblemKind, str] = {
    ProblemKind.NO_RUN_RECORD: f"{_AGAIN} writes the record again",
    ProblemKind.DAMAGED_RUN_RECORD: "without it nothing else of the run can be checked",
    ProblemKind.UNREADABLE_PLAN: "without it nothing else of the run can be checked",
    ProblemKind.UNFINISHED: _RESUME,
    ProblemKind.ALTERED_PLAN: "restore the private tree from a backup; until then its labels and files are in doubt",
    ProblemKind.FOREIGN_FILE: "find out who put it there, then remove it",
    ProblemKind.MISSING_SHARD: _RESUME,
    ProblemKind.UNPLANNED_SHARD: "it does not belong to this run: find out who put it there, then remove it",
    ProblemKind.UNREADABLE_SHARD: RESTORE,
    ProblemKind.FOREIGN_SHARD: RESTORE,
    ProblemKind.ALTERED_SHARD: RESTORE,
    ProblemKind.MISSING_IMAGE: _REPORT,
    ProblemKind.MISSING_FRAME: _REPORT,
    ProblemKind.DUPLICATE_ROW: _REPORT,
    ProblemKind.UNPLANNED_ROW: _REPORT,
    ProblemKind.INCONSISTENT_ROW: _REPORT,
    ProblemKind.WRONG_PROBABILITY: _REPORT,
    ProblemKind.DAMAGED_MASK: RESTORE,
    ProblemKind.WRONG_PIXEL_COUNTS: _REPORT,
    ProblemKind.WRONG_MILLIMETRES: _REPORT,
    ProblemKind.MISSING_SOURCES: "restore the private tree from a backup; the scores themselves are not affected",
    ProblemKind.PREDICTIONS_DIFFER: f"delete the run's predictions and {_AGAIN} derives them again",
    ProblemKind.COUNTS_DIFFER: f"delete the run's run.json and {_AGAIN} counts again",
    ProblemKind.DERIVED_TABLE_DIFFERS: "the command `evaluate` with --run-id of this run writes it again",
    ProblemKind.BROKEN_LINEAGE: "restore its parent from a backup; or score everything again with --new-run",
}
"""What a person can do about each kind of problem.

Where the digest shows that a file was altered after it was written, the remedy for everything inside it is to restore
the file. Otherwise the program is at fault."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `place` says where by tokens and keys: a shard, an image and frame."""

    kind: ProblemKind
    place: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.detail} ({self.remedy})"


@dataclass(slots=True)
class VerifyReport:
    """The result of verifying a run. `problems` lists the first problems, `n_problems` counts them all."""

    run_id: str
    n_shards_checked: int = 0
    counts: RunCounts | None = None
    n_problems: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return self.n_problems == 0

    def add(self, *problems: Problem) -> None:
        """Add problems."""
        self.n_problems += len(problems)
        self.problems.extend(problems[: MAX_PROBLEMS_LISTED - len(self.problems)])


@dataclass(frozen=True, slots=True)
class LineageReport:
    """The result of verifying a lineage as a whole. The runs themselves have reports of their own.

    Attributes:
        run_ids: The runs, oldest first.
        n_images: The number of images that any of the runs planned.
        n_rows: The number of rows that count.
        problems: What is wrong.
    """

    run_ids: tuple[str, ...]
    n_images: int
    n_rows: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems
