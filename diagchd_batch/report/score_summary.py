"""Sums up a run's study scores for the report: how many, how they are distributed, which are highest, what changed."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.storage import Store

N_BINS = 20
"""Bins of equal width in the histogram of scores, from 0 to 1."""

N_HIGHEST = 20
"""Studies that the report lists."""

_COLUMNS = ("study_id", "status", "operating_point", "score", "call", "source_resolution", "n_frames_flagged")


@dataclass(frozen=True)
class Changes:
    """What a run changed in the results of the run that it continues.

    Attributes:
        parent_run_id: The run that it continues.
        n_new: Studies that the parent does not have.
        n_now_scored: Studies without a score in the parent and with one now.
        n_scores: Studies with a score in both, and another one now.
        n_calls: Studies with a call in both, and another one now.
        calls: Up to `N_HIGHEST` of these: study_id, first_score, second_score, first_call, second_call.
    """

    parent_run_id: str
    n_new: int
    n_now_scored: int
    n_scores: int
    n_calls: int
    calls: list[dict[str, Any]]


@dataclass(frozen=True)
class StudyScores:
    """The study scores of a run and of the runs that it continues, at one operating point.

    Attributes:
        n_studies: Planned studies that were not excluded.
        n_scored: Studies with a score.
        n_called: Studies with a score at or above the threshold.
        n_flagged: Scored studies with at least one frame that has a quality flag.
        histogram: Number of studies in each of `N_BINS` bins of the score.
        highest: The up to `N_HIGHEST` studies with the highest scores: study_id, score, call, source_resolution,
            n_frames_flagged.
        changes: What changed since the run that this one continues, or None.
    """

    n_studies: int
    n_scored: int
    n_called: int
    n_flagged: int
    histogram: tuple[int, ...]
    highest: list[dict[str, Any]]
    changes: Changes | None


def read_study_scores(
    output: Store, run_id: str, parent_run_id: str | None, operating_point: str | None
) -> StudyScores | None:
    """Return the summary of a run's study scores, or None if the run has no table of them.

    Args:
        output: The output that holds the run.
        run_id: The run.
        parent_run_id: The run that it continues, or None.
        operating_point: The operating point whose calls count; None for the first in the table.

    Raises:
        RunFault: A table is damaged.
    """
    studies = read_metrics(output, run_id, "study_results", _COLUMNS)
    if studies is None:
        return None
    earlier = read_metrics(output, parent_run_id, "study_results", _COLUMNS) if parent_run_id else None
    return summary(studies, operating_point, earlier, parent_run_id)


@dataclass(frozen=True)
class ScorePair:
    """Studies whose scores in two runs lie near each other.

    Attributes:
        first: Median score of these studies in the earlier run.
        second: Their median score in the later run.
        n: Their number.
    """

    first: float
    second: float
    n: int


def read_score_pairs(output: Store, run_id: str, other_run_id: str, operating_point: str | None) -> list[ScorePair]:
    """Return how the scores of two runs lie, for a figure: one entry for each cell of a grid that holds studies.

    Args:
        output: The output that holds both runs.
        run_id: The later run.
        other_run_id: The earlier run.
        operating_point: The operating point by whose rows the studies are taken; None for the first in the table.

    Raises:
        RunFault: A table is damaged.
    """
    found = [read_metrics(output, name, "study_results", _COLUMNS) for name in (other_run_id, run_id)]
    if any(table is None or not table.num_rows for table in found):
        return []
    with memory_database(spills=True) as connection:
        for name, table in zip(("earlier", "studies"), found, strict=True):
            assert table is not None
            connection.register(name, _planned(table, operating_point or table["operating_point"][0].as_py()))
        rows = connection.sql(_SCORE_PAIRS).fetchall()
    return [ScorePair(*row) for row in rows]


def summary(
    studies: pa.Table, operating_point: str | None, earlier: pa.Table | None = None, parent_run_id: str | None = None
) -> StudyScores:
    """Return the summary of a table of study results.

    Args:
        studies: The table `study_results` of a run.
        operating_point: The operating point whose calls count; None for the first in the table.
        earlier: The same table of the run that it continues, or None.
        parent_run_id: The run that it continues, or None.
    """
    if operating_point is None and studies.num_rows:
        operating_point = studies["operating_point"][0].as_py()
    with memory_database(spills=True) as connection:
        connection.register("studies", _planned(studies, operating_point))
        n_studies, n_scored, n_called, n_flagged = connection.sql(_COUNTS).fetchall()[0]
        bins = dict(connection.sql(_HISTOGRAM).fetchall())
        highest = connection.sql(_HIGHEST).to_arrow_table().to_pylist()
        changes = None
        if earlier is not None and parent_run_id is not None:
            connection.register("earlier", _planned(earlier, operating_point))
            counts = connection.sql(f"SELECT {_CHANGE_COUNTS} FROM ({_BOTH_RUNS})").fetchall()[0]
            n_new, n_now_scored, n_scores, n_calls = counts
            calls = connection.sql(f"SELECT * EXCLUDE (is_new) FROM ({_BOTH_RUNS}) {_CHANGED_CALLS}")
            rows = calls.to_arrow_table().to_pylist()
            changes = Changes(parent_run_id, n_new, n_now_scored, n_scores, n_calls, rows)
    histogram = tuple(bins.get(number, 0) for number in range(N_BINS))
    return StudyScores(n_studies, n_scored, n_called, n_flagged, histogram, highest, changes)


def _planned(studies: pa.Table, operating_point: str | None) -> pa.Table:
    """Return the rows of one operating point whose studies were not excluded."""
    at_point = pc.equal(studies["operating_point"], operating_point)
    return studies.filter(pc.and_(at_point, pc.not_equal(studies["status"], "excluded")))


_COUNTS = """
SELECT count(*), count(score), count(*) FILTER (call = 'positive'),
       count(*) FILTER (score IS NOT NULL AND n_frames_flagged > 0)
FROM studies
"""
_HISTOGRAM = f"""
SELECT CAST(least(floor(score * {N_BINS}), {N_BINS - 1}) AS INTEGER) AS bin, count(*)
FROM studies WHERE score IS NOT NULL GROUP BY bin
"""
_HIGHEST = f"""
SELECT study_id, score, call, source_resolution, n_frames_flagged
FROM studies WHERE score IS NOT NULL ORDER BY score DESC, study_id LIMIT {N_HIGHEST}
"""
_BOTH_RUNS = """
SELECT study_id, earlier.study_id IS NULL AS is_new, earlier.score AS first_score, studies.score AS second_score,
       earlier.call AS first_call, studies.call AS second_call
FROM studies LEFT JOIN earlier USING (study_id)
"""
_CHANGE_COUNTS = """
count(*) FILTER (is_new), count(*) FILTER (NOT is_new AND first_score IS NULL AND second_score IS NOT NULL),
count(*) FILTER (first_score <> second_score), count(*) FILTER (first_call <> second_call)
"""
_CHANGED_CALLS = f"""
WHERE first_call <> second_call ORDER BY abs(second_score - first_score) DESC, study_id LIMIT {N_HIGHEST}
"""

_CELLS = 100
"""Cells of the grid of score pairs along each axis. More would not be told apart in the figure."""

_SCORE_PAIRS = f"""
SELECT median(first_score), median(second_score), count(*)
FROM (SELECT first_score, second_score,
             floor(first_score * {_CELLS}) AS first_cell, floor(second_score * {_CELLS}) AS second_cell
      FROM ({_BOTH_RUNS}) WHERE first_score IS NOT NULL AND second_score IS NOT NULL)
GROUP BY first_cell, second_cell ORDER BY first_cell, second_cell
"""
