"""Writes `export shareable`: a run's aggregates as CSV files, and a README that says what is missing."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.exports.destinations import ExportKind, check_apart, check_destination, write_export
from diagchd_batch.exports.disclosure.curves import RaterScoreCuts, merged_calibration, thinned_curves
from diagchd_batch.exports.disclosure.earlier_exports import (
    ExportRecord,
    read_earlier_exports,
    remember_export,
    with_earlier_exports,
)
from diagchd_batch.exports.disclosure.publishable_rows import NEVER_PUBLISHED, Publication
from diagchd_batch.exports.disclosure.suppression import protect
from diagchd_batch.exports.disclosure.table_counts import collect_counts
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.results.columns.evaluation_tables import METRICS, TABLES
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store

SHARED_TABLES = (
    "estimates",
    "comparisons",
    "flow",
    "cohort_characteristics",
    "cross_tabulation",
    "curves",
    "calibration",
)
"""The tables that are shared. The rows of study_results, reads and worst_cases are single studies, so these are not.
The figures of subgroups stand in estimates, too; their differences from all other levels would need rules of their own.
Neighbouring points of abstention curves differ by few studies, so the table abstention is not shared, either.
"""

_OF_DECISION_CURVES = ("prevalence", "ci_low", "ci_high", "ci_method")
_COLUMNS = {name: tuple(TABLES[name].names) for name in SHARED_TABLES} | {
    "flow": ("step", "name", "n_studies"),
    "curves": tuple(name for name in TABLES["curves"].names if name not in _OF_DECISION_CURVES),
    **dict.fromkeys(("estimates", "comparisons"), tuple(name for name in METRICS.names if name not in NEVER_PUBLISHED)),
}
_SIGNIFICANT_DIGITS = 4
"""All digits of a figure could single out one arrangement of the studies."""

_TOKEN = re.compile(rb"\b[psir]-[0-9a-f]{16}\b")


@dataclass(frozen=True)
class ShareableSummary:
    """What `export_shareable` wrote.

    Attributes:
        run_id: The run.
        min_cell: Counts from 1 to below this number were withheld.
        n_rows: Number of rows by table.
        n_withheld: Number of withheld rows or counts by table.
    """

    run_id: str
    min_cell: int
    n_rows: Mapping[str, int]
    n_withheld: Mapping[str, int]


def export_shareable(
    output: Output,
    record: RunRecord,
    destination: Store,
    min_cell: int | None = None,
    *,
    forget_earlier: bool = False,
) -> ShareableSummary:
    """Write the shareable tables of a run's metrics, in place of an earlier export.

    What is published is remembered in the private tree. Later exports of the lineage withhold what would reveal small
    differences from it.

    Args:
        output: The output that holds the run.
        record: The run's record.
        destination: An empty or new directory, or one that holds an earlier shareable export and nothing else.
        min_cell: Counts from 1 to below this number are withheld, and all other figures from which they would follow.
            The default is the job's `disclosure.min_cell`.
        forget_earlier: No earlier export of the lineage was given away, so none has to be considered.

    Returns:
        What was written.

    Raises:
        UsageError: The run has no metrics, or the destination holds other files or is not apart from the output; or
            earlier exports reveal small counts, whatever this one withholds.
        RunFault: A file would hold an identifier's token, which is a bug.
    """
    check_apart(destination, output.storage)
    check_destination(destination, ExportKind.SHAREABLE)
    min_cell = min_cell or int(record.config.get("disclosure", {}).get("min_cell", 10))
    tables = {name: _read(output.storage, record.run_id, name) for name in SHARED_TABLES}
    lineage = resolve_lineage(output.storage, record.run_id)[0].run_id
    earlier = [] if forget_earlier else read_earlier_exports(output.private, lineage)
    shared, n_withheld, published = _select(tables, min_cell, earlier)
    files = {f"{name}.csv": to_csv(rows, _COLUMNS[name]) for name, rows in shared.items()}
    n_rows = {name: len(rows) for name, rows in shared.items()}
    summary = ShareableSummary(record.run_id, min_cell, n_rows, n_withheld)
    files["README.md"] = _readme(record, summary).encode()
    for name, data in files.items():
        if _TOKEN.search(data):
            raise RunFault(f"{name} would hold an identifier's token, so nothing was exported; please report this bug")
    if forget_earlier or not any(map(published.published_the_same, earlier)):
        # Before the files, so that nothing can be published that is not remembered.
        remember_export(
            output.private,
            lineage,
            published.model_copy(update={"run_id": record.run_id, "forgets_earlier": forget_earlier}),
        )
    write_export(destination, ExportKind.SHAREABLE, files)
    return summary


def shareable_tables(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], min_cell: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Select what may be shared of a run's metrics tables.

    Args:
        tables: The rows of all `SHARED_TABLES`.
        min_cell: Counts from 1 to below this number are withheld.

    Returns:
        The rows to share, with readers as numbers, and the number of withheld rows or counts by table.
    """
    shared, n_withheld, _ = _select(tables, min_cell, ())
    return shared, n_withheld


def _select(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], min_cell: int, earlier: Sequence[ExportRecord]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int], ExportRecord]:
    """Return what `shareable_tables` returns, and the record of what is published beside the earlier exports."""
    readers = _reader_numbers(tables, earlier)
    tables = _without_tokens(tables, readers)
    counts = collect_counts(tables)
    withheld = protect(with_earlier_exports(counts, earlier), min_cell) & counts.values.keys()
    publication = Publication(tables, counts, withheld, min_cell)
    raters = RaterScoreCuts(tables, counts, publication, min_cell)
    shared = {
        "estimates": publication.estimates(),
        "comparisons": publication.comparisons(),
        "flow": publication.flow(),
        "cohort_characteristics": publication.cohort_characteristics(),
        "cross_tabulation": publication.cross_tabulation(),
        "calibration": merged_calibration(tables["calibration"], raters),
        "curves": thinned_curves(tables["curves"], raters),
    }
    n_withheld = dict(publication.n_withheld)
    for name in ("calibration", "curves"):
        n_withheld[name] = len(tables[name]) - len(shared[name])
    record = ExportRecord.of(
        counts, withheld, run_id="", exported_at=datetime.now(UTC).isoformat(), min_cell=min_cell, readers=readers
    )
    return {name: list(map(_rounded, rows)) for name, rows in shared.items()}, n_withheld, record


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Round all numbers but counts to a few digits. A whole number is a count, unless it describes a covariate."""
    of_covariate = row.get("statistic", "n") != "n"
    return {
        name: float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        if isinstance(value, float) and (of_covariate or not value.is_integer())
        else value
        for name, value in row.items()
    }


def _reader_numbers(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], earlier: Sequence[ExportRecord]
) -> dict[str, int]:
    """Number the readers, those of earlier exports as before.

    The order of the others follows from a digest, so that it does not reveal the alphabetical order of their names.
    """
    readers = sorted(
        {
            row[name]
            for rows in tables.values()
            for row in rows
            for kind, name in (("subject_kind", "subject"), ("comparator_kind", "comparator"))
            if row.get(kind) == "reader" and row[name]
        },
        key=lambda reader: hashlib.sha256(reader.encode()).digest(),
    )
    numbers: dict[str, int] = {}
    for record in earlier:
        numbers |= record.readers
    for reader in readers:
        numbers.setdefault(reader, len(numbers) + 1)
    return numbers


def _without_tokens(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], numbers: Mapping[str, int]
) -> dict[str, list[dict[str, Any]]]:
    """Name the readers by their numbers."""
    renamed: dict[str, list[dict[str, Any]]] = {}
    for table, rows in tables.items():
        renamed[table] = [dict(row) for row in rows]
        for row in renamed[table]:
            for kind, name in (("subject_kind", "subject"), ("comparator_kind", "comparator")):
                if row.get(kind) == "reader":
                    row[name] = f"reader {numbers[row[name]]}" if row[name] in numbers else row[name]
    return renamed


def _read(output: Store, run_id: str, name: str) -> list[dict[str, Any]]:
    table = read_metrics(output, run_id, name)
    if table is None:
        raise UsageError(f"run {run_id} has no table {name}; compute its metrics with the command `evaluate`")
    if not set(TABLES[name].names) <= set(table.column_names):
        raise UsageError(
            f"an earlier version computed the metrics of run {run_id}, whose covariates can hold numbers that identify "
            "people; compute its metrics again with the command `evaluate`"
        )
    return table.select(TABLES[name].names).to_pylist()


def _names_note(record: RunRecord) -> list[str]:
    if not record.config.get("evaluation", {}).get("disclose"):
        return []
    return ["Levels of covariates have their own names, because `evaluation.disclose` is true.", ""]


def _withheld_counts(min_cell: int) -> str:
    return "No counts" if min_cell == 1 else "Counts of 1" if min_cell == 2 else f"Counts from 1 to {min_cell - 1}"


def _readme(record: RunRecord, summary: ShareableSummary) -> str:
    lines = [
        "# Shareable aggregates" + (" of SIMULATED data" if record.simulated else ""),
        "",
        f"Run {record.run_id}, model {record.model.name} ({record.model.precision}), weights "
        f"{record.model.weights_digest}, diagchd-batch {record.package_version}.",
        "",
        f"{_withheld_counts(summary.min_cell)} are withheld. So are all figures that are computed from them, all "
        "counts in any table from which they would follow by adding and subtracting, and how a small group divides, "
        f"even into zeros. Readers are numbered. Numbers have {_SIGNIFICANT_DIGITS} significant digits. Points of "
        "curves are left out and calibration bins are merged until, between any two that remain, there are either at "
        f"least {summary.min_cell} diseased and as many healthy studies, or none.",
        "",
        "| file | rows | withheld |",
        "| --- | ---: | ---: |",
        *(f"| {name}.csv | {n:,} | {summary.n_withheld[name]:,} |" for name, n in summary.n_rows.items()),
        "",
        "Whole rows are withheld, and whole cross tables of two raters. In flow.csv a row stays and its count is "
        "empty. In estimates.csv and comparisons.csv counts and adjusted p beside a figure can be empty, too. Most "
        "figures of a reader who left a few studies unread are withheld, because they would reveal those few. Never "
        "shared are studies, reads, worst cases, differences of subgroups, decision curves, abstention curves and the "
        "areas under them, figures of the scores at another prevalence, minima and maxima (they are single studies'), "
        "calls counted by image (many images can be of one person), the number of units that a figure leaves out, and "
        "figures that count indeterminate results as right or wrong.",
        "",
        *_names_note(record),
        "These are aggregates of pseudonymised data. The data's owner must decide whether they may be given away, "
        "considering what other people know of the cohort. Later exports of these studies, when more have been added, "
        "withhold what would reveal few of them by a difference. Exports of another lineage of runs do not know of "
        "this one.",
        "",
    ]
    return "\n".join(lines)
