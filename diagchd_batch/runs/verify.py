"""`verify`: proves what an output holds."""

from collections.abc import Callable
from dataclasses import dataclass

from diagchd_batch.results.deletion.records import read_notes, refuse_unfinished_deletion
from diagchd_batch.results.output import Output
from diagchd_batch.results.verify.findings import LineageReport, VerifyReport
from diagchd_batch.results.verify.whole_output import verify_lineages, verify_runs
from diagchd_batch.scoring.liveness.left_node_marks import left_node_marks
from diagchd_batch.scoring.liveness.run_status import current_status
from diagchd_batch.uris import join_uri


@dataclass(frozen=True, slots=True)
class Verification:
    """The findings of `verify`.

    Attributes:
        runs: A report for each run.
        lineages: A report for each lineage.
        leftovers: Places of files that killed writers left. They are no results, and nothing is wrong because of them.
    """

    runs: tuple[VerifyReport, ...]
    lineages: tuple[LineageReport, ...]
    leftovers: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(run.ok for run in self.runs) and all(lineage.ok for lineage in self.lineages)


def verify(
    output: Output, run_id: str | None = None, *, on_run: Callable[[VerifyReport], object] = lambda report: None
) -> Verification:
    """Check that every planned frame has exactly one result, and that all files are whole.

    Args:
        output: The output to check.
        run_id: The run to check; all runs by default.
        on_run: Receives each run's report as soon as the run is checked.

    Returns:
        The reports of all runs and lineages that were checked.

    Raises:
        UsageError: The output holds no such run.
        RunFault: The plan of the run that was named, or of every run, cannot be read; or a deletion is not finished, or
            its note is damaged.
    """
    refuse_unfinished_deletion(output.private)
    for _ in read_notes(output.storage):
        pass
    reports = []
    for report in verify_runs(output, run_id, status_of=lambda record: current_status(output, record)):
        reports.append(report)
        on_run(report)
    return Verification(tuple(reports), tuple(verify_lineages(output, run_id)), _leftovers(output))


def _leftovers(output: Output) -> tuple[str, ...]:
    found = {join_uri(store.uri, key) for store in (output.storage, output.private) for key in store.leftovers()}
    marks = (join_uri(output.storage.uri, key) for key in left_node_marks(output.storage, output.private))
    return tuple(sorted({*found, *marks}))
