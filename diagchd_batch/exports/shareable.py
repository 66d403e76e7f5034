"""`export shareable`: aggregates of a run for people outside, as CSV files with a README that says what is missing."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.evaluation.tables.schemas import METRICS, TABLES
from diagchd_batch.exports.destinations import check_apart
from diagchd_batch.exports.disclosure.cells import collect_counts
from diagchd_batch.exports.disclosure.curves import ScoreCutsOfRaters, merged_calibration, thinned_curves
from diagchd_batch.exports.disclosure.publication import NEVER_PUBLISHED, Publication
from diagchd_batch.exports.disclosure.suppression import protect
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.results.derived import read_metrics
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
"""Never shared: study_results, reads and worst_cases, whose rows are studies."""

_COLUMNS = {name: tuple(TABLES[name].names) for name in SHARED_TABLES} | {
    "flow": ("step", "name", "n_studies"),
    **dict.fromkeys(("estimates", "comparisons"), tuple(name for name in METRICS.names if name not in NEVER_PUBLISHED)),
}
_SIGNIFICANT_DIGITS = 4
"""A figure with all its digits can be that of one arrangement of the studies only."""

_TOKEN = re.compile(rb"\b[psir]-[0-9a-f]{16}\b")


@dataclass(frozen=True)
class ShareableSummary:
    """What was written: rows by table, and how many rows or counts were withheld."""

    run_id: str
    min_cell: int
    n_rows: Mapping[str, int]
    n_withheld: Mapping[str, int]


def export_shareable(
    output: Store, record: RunRecord, destination: Store, min_cell: int | None = None
) -> ShareableSummary:
    """Writes the shareable tables of a run's metrics, in place of an earlier export at `destination`.

    `min_cell`: counts from 1 to below it are withheld, and all else that would tell them; default: the job's
    `disclosure.min_cell`. Raises UsageError where the run has no metrics, where `destination` lies in the output or
    around it, or holds anything else.
    """
    check_apart(destination, output)
    min_cell = min_cell or int(record.config.get("disclosure", {}).get("min_cell", 10))
    tables = {name: _read(output, record.run_id, name) for name in SHARED_TABLES}
    shared, n_withheld = shareable_tables(tables, min_cell)
    files = {f"{name}.csv": to_csv(rows, _COLUMNS[name]) for name, rows in shared.items()}
    n_rows = {name: len(rows) for name, rows in shared.items()}
    summary = ShareableSummary(record.run_id, min_cell, n_rows, n_withheld)
    if any(info.key not in (*files, "README.md") for info in destination.list()):
        raise UsageError(
            f"{destination.uri} holds other files, which would be given away with the export; name an empty directory"
        )
    files["README.md"] = _readme(record, summary).encode()
    for name, data in files.items():
        if _TOKEN.search(data):
            raise RunFault(f"{name} would hold an identifier's token; nothing was exported. Please report this.")
    for name, data in files.items():
        destination.replace(name, data)
    return summary


def shareable_tables(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], min_cell: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """The rows of SHARED_TABLES that may be shared, readers as numbers; and what was withheld of each table."""
    tables = _without_tokens(tables)
    counts = collect_counts(tables)
    publication = Publication(tables, counts, protect(counts, min_cell), min_cell)
    raters = ScoreCutsOfRaters(tables, counts, publication, min_cell)
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
    return {name: list(map(_rounded, rows)) for name, rows in shared.items()}, n_withheld


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Counts as they are, other numbers to a few digits."""
    return {
        name: float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        if isinstance(value, float) and not value.is_integer()
        else value
        for name, value in row.items()
    }


def _without_tokens(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
    """Readers are called by number, in an order that says nothing of the alphabet if the tables hold their names."""
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
    numbers = {reader: f"reader {number}" for number, reader in enumerate(readers, start=1)}
    renamed: dict[str, list[dict[str, Any]]] = {}
    for table, rows in tables.items():
        renamed[table] = [dict(row) for row in rows]
        for row in renamed[table]:
            for kind, name in (("subject_kind", "subject"), ("comparator_kind", "comparator")):
                if row.get(kind) == "reader":
                    row[name] = numbers.get(row[name], row[name])
    return renamed


def _read(output: Store, run_id: str, name: str) -> list[dict[str, Any]]:
    table = read_metrics(output, run_id, name)
    if table is None:
        raise UsageError(f"run {run_id} has no table {name}; make its metrics with `diagchd-batch evaluate`")
    return table.select(TABLES[name].names).to_pylist()


def _names_note(record: RunRecord) -> list[str]:
    if not record.config.get("evaluation", {}).get("disclose"):
        return []
    return ["Levels of covariates bear their own names, as `evaluation.disclose` asked for.", ""]


def _readme(record: RunRecord, summary: ShareableSummary) -> str:
    lines = [
        "# Shareable aggregates" + (" of SIMULATED data" if record.simulated else ""),
        "",
        f"Run {record.run_id}, model {record.model.name} ({record.model.precision}), weights "
        f"{record.model.weights_digest}, diagchd-batch {record.package_version}.",
        "",
        f"Counts from 1 to {summary.min_cell - 1} are withheld, and with them every figure made of them and every "
        "count, of any table here, from which they would follow by adding and subtracting; so is how a small group "
        f"divides, be it into zeros. Readers are numbered. Numbers have {_SIGNIFICANT_DIGITS} significant digits. "
        "Curves keep so few points, and calibration bins are merged, that at least "
        f"{summary.min_cell} diseased and healthy studies, or none, lie between any two of them.",
        "",
        "| file | rows | withheld |",
        "| --- | ---: | ---: |",
        *(f"| {name}.csv | {n:,} | {summary.n_withheld[name]:,} |" for name, n in summary.n_rows.items()),
        "",
        "Withheld are whole rows, and of two raters' cross tables the whole table; in flow.csv the row stays and its "
        "count is empty; in estimates.csv and comparisons.csv counts and adjusted p beside a figure may be empty, too. "
        "A reader who did not read a few of the studies loses most figures, because what the others read more of "
        "would be those few. Not here at all: studies, reads, worst cases, decision curves, extremes (they are single "
        "studies'), calls counted by image (many images can be of one person), how many units each figure leaves out, "
        "and figures that count indeterminate results as right or wrong.",
        "",
        *_names_note(record),
        "These are aggregates of pseudonymised data. Whether they may be given away is for the data's owner to decide; "
        "what other people know of the cohort is not known here. Give away one export of these studies only: from two, "
        "of nearly the same studies or with another limit, what both withhold can follow.",
        "",
    ]
    return "\n".join(lines)
