"""Reads what a report is made from: the run's public record and its metrics tables, never the private tree."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.tables.headline import HEADLINE_SQL
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.report.elements import Cell
from diagchd_batch.report.score_summary import ScorePair, StudyScores, read_score_pairs, read_study_scores
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.metrics_tables import compared_runs, has_metrics, read_comparison, read_metrics
from diagchd_batch.results.run_record import RunRecord, read_run_record
from diagchd_batch.storage import Store

Row = dict[str, Any]

# These two tables grow with the number of studies. The report shows only aggregates and the worst cases.
_NOT_READ = frozenset({"study_results", "reads"})


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        record: The run's public record.
        tables: The rows of each metrics table. A table that the run lacks has no rows.
        headline: The rows of the headline query.
        comparisons: For each earlier run that this run was compared with, the rows of each comparison table.
        study_scores: The summary of the studies' scores, or None if the run has no table of them.
        scores_of_both: For each of these earlier runs, how the scores of the two runs lie.
    """

    record: RunRecord
    tables: dict[str, list[Row]]
    headline: list[Row]
    comparisons: dict[str, dict[str, list[Row]]]
    study_scores: StudyScores | None
    scores_of_both: dict[str, list[ScorePair]]

    def estimates(self, **wanted: Any) -> list[Row]:
        """Return the rows of `estimates` whose columns have these values. A tuple stands for any of its members."""
        return matching(self.tables["estimates"], **wanted)

    def compared(self, **wanted: Any) -> list[Row]:
        """Return rows of `comparisons`, chosen as in `estimates`."""
        return matching(self.tables["comparisons"], **wanted)

    @cached_property
    def operating_point(self) -> str | None:
        """The operating point of the headline table."""
        return _operating_point(self.tables["estimates"])

    @property
    def threshold(self) -> float | None:
        """The threshold of the headline table's operating point."""
        return next((row["threshold"] for row in self.estimates(headline=True, subject_kind="model")), None)

    @cached_property
    def readers(self) -> dict[str, str]:
        """The short name of each reader in figures: R1, R2, …"""
        named = {row["subject"] for row in self.estimates(subject_kind="reader")}
        return {name: f"R{place}" for place, name in enumerate(sorted(named), start=1)}

    def subject(self, row: Row) -> Cell:
        """Return the name of the rater that a row is about."""
        return self._rater(row["subject_kind"], row["subject"])

    def comparator(self, row: Row) -> Cell:
        """Return the name of the rater that the row's rater is compared with."""
        return self._rater(row["comparator_kind"], row["comparator"])

    def _rater(self, kind: str | None, name: str) -> Cell:
        if kind == "reader" and name in self.readers:
            return self.readers[name], name
        return {"readers_mean": "mean of the readers", "majority": "majority"}.get(name, name)


def matching(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Return the rows whose columns have these values. A tuple stands for any of its members."""
    choices = {name: value if isinstance(value, tuple) else (value,) for name, value in wanted.items()}
    return [row for row in rows if all(row[name] in values for name, values in choices.items())]


def is_evaluated(output: Store, run_id: str) -> bool:
    """Return whether a run has metrics, which a report needs.

    Args:
        output: The output.
        run_id: The run's id.
    """
    return has_metrics(output, run_id, "estimates")


def read_report_data(output: Store, run_id: str) -> ReportData:
    """Read everything that the report of a run shows.

    Args:
        output: The output.
        run_id: The run's id.

    Returns:
        The record and the tables of the run, and its comparisons with earlier runs.

    Raises:
        UsageError: The run has no record, or it has no metrics.
    """
    record = read_run_record(output, run_id)
    if record is None:
        raise UsageError(f"this output holds no record of run {run_id}; the command `list` shows its runs")
    found = {name: read_metrics(output, run_id, name) for name in TABLES if name not in _NOT_READ}
    if found["estimates"] is None:
        raise UsageError(f"run {run_id} has no metrics; make them with the command `evaluate`")
    filled = {name: TABLES[name].empty_table() if table is None else table for name, table in found.items()}
    tables = {name: table.to_pylist() for name, table in filled.items()}
    point = _operating_point(tables["estimates"])
    others = compared_runs(output, run_id)
    return ReportData(
        record=record,
        tables=tables,
        headline=_headline(filled["estimates"], filled["comparisons"]),
        comparisons={other: _comparison(output, run_id, other) for other in others},
        study_scores=read_study_scores(output, run_id, record.parent_run_id, point),
        scores_of_both={other: read_score_pairs(output, run_id, other, point) for other in others},
    )


def _operating_point(estimates: Iterable[Row]) -> str | None:
    headline = matching(estimates, headline=True, subject_kind="model")
    return next((row["operating_point"] for row in headline), None)


def _headline(estimates: pa.Table, comparisons: pa.Table) -> list[Row]:
    with memory_database(spills=False) as connection:
        connection.register("estimates", estimates)
        connection.register("comparisons", comparisons)
        return connection.sql(HEADLINE_SQL).to_arrow_table().to_pylist()


def _comparison(output: Store, run_id: str, other: str) -> dict[str, list[Row]]:
    found = {name: read_comparison(output, run_id, other, name) for name in COMPARISON_TABLES}
    return {name: [] if table is None else table.to_pylist() for name, table in found.items()}
