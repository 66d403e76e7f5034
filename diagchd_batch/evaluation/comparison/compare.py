"""`compare`: what changed between two runs over the same studies, from their tables alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.config.models import EvaluationConfig
from diagchd_batch.evaluation.cohort.annotations import Matching, match_reference
from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.cohort.evaluate import run_tables
from diagchd_batch.evaluation.cohort.flow import create_results
from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS
from diagchd_batch.evaluation.comparison.mask_pairs import MaskPairs, ShardRange, compare_masks
from diagchd_batch.evaluation.comparison.schemas import TABLES
from diagchd_batch.evaluation.comparison.tables import (
    drift_rows,
    mask_case_rows,
    mask_rows,
    paired_rows,
    score_test_row,
)
from diagchd_batch.evaluation.operating_points import at_operating_point, point_columns, with_headline
from diagchd_batch.evaluation.subgroups.covariates import Covariate, all_covariates
from diagchd_batch.evaluation.tables.display_names import Names
from diagchd_batch.evaluation.tables.multiplicity import adjusted
from diagchd_batch.evaluation.tables.rows import Row, Rows, Settings
from diagchd_batch.evaluation.tables.writing import metrics_table, write_table
from diagchd_batch.evaluation.units import EXCLUDED, FAILED, NOT_SCORED, Units
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.datasets import committed_shards, read_predictions
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store
from diagchd_batch.studies.checks import read_reference
from diagchd_batch.studies.identifiers import Pseudonymizer

_REASON = (
    f"CAST(CASE WHEN NOT included THEN {EXCLUDED} WHEN n_frames_ok + n_frames_failed = 0 THEN {NOT_SCORED} "
    f"WHEN n_frames_ok = 0 THEN {FAILED} ELSE 0 END AS TINYINT)"
)


@dataclass(frozen=True)
class ComparisonSummary:
    """What `compare_runs` wrote. `n_flips`: studies whose call changed at the headline's operating point."""

    first: str
    second: str
    n_rows: Mapping[str, int]  # by table
    n_studies: int  # scored by both
    n_flips: int
    notes: tuple[str, ...]


def compare_runs(
    output: Store,
    private: Store,
    first: str,
    second: str,
    config: EvaluationConfig,
    pseudonymizer: Pseudonymizer,
    *,
    masks: bool = True,
) -> ComparisonSummary:
    """Compares the second run with the first, over their lineages.

    Writes the tables of `comparison.schemas` under `metrics/run_id=<second>/compare_to=<first>/`.
    `masks`: also decode and compare every pair of masks, which takes about a millisecond a frame. Raises UsageError
    for an unknown run.
    """
    lineages = resolve_lineage(output, first), resolve_lineage(output, second)
    points, headline = with_headline(config.operating_points)
    rows = Rows(Settings(config.study_score, config.resamples, config.seed), definitions=DEFINITIONS)
    with CohortDatabase() as database:
        _load_both(database, output, private, lineages, config)
        covariates, notes = _annotate(database, Names(pseudonymizer, disclose=config.disclose), config)
        units, scores, reasons = _paired(database)
        has_reference = not np.isnan(units.truth).all()
        if not has_reference:
            notes.append("no reference labels: only agreement and drift are compared")
        tests: list[Row] = []
        flips: list[Row] = []
        drift: list[Row] = []
        for point in points:
            here = rows.having(**point_columns(point), comparator_kind="run", comparator=first)
            of_first, of_second = (
                at_operating_point(name, score, reason, point)
                for name, score, reason in zip((first, second), scores, reasons, strict=True)
            )
            tests += paired_rows(here, units, of_second, of_first, has_reference=has_reference)
            flips += database.rows(_FLIPS, [point.threshold, point.name])
            drift += drift_rows(rows, units, of_second, of_first, covariates, point.name)
            if point is headline and has_reference:
                tests.append(score_test_row(rows, units, of_second, of_first))
        tables = {"comparison_tests": adjusted([{**row, "family": "runs"} for row in tests])}
        tables |= {"comparison_flips": flips, "comparison_drift": drift}
        pairs = _mask_pairs(database, output, lineages) if masks else None
        if pairs is not None and len(pairs.frame):
            study, subject = _numbers(database, pairs)
            tables["comparison_masks"] = list(mask_rows(rows, pairs, study, subject, (second, first)))
            tables["comparison_mask_cases"] = list(mask_case_rows(pairs))
        else:
            notes.append("masks were not compared" if pairs is None else "no frame has a mask in both runs")
        tables["comparison_flow"] = [
            *database.rows(_FLOW),
            *({"name": "left_out", "note": note} for note in notes),
        ]
    n_rows = _write(output, lineages[1][-1], first, tables)
    return ComparisonSummary(
        first,
        second,
        n_rows,
        int(np.sum((reasons[0] == 0) & (reasons[1] == 0))),
        sum(row["operating_point"] == headline.name for row in flips),
        tuple(notes),
    )


def _load_both(
    database: CohortDatabase,
    output: Store,
    private: Store,
    lineages: tuple[list[RunRecord], list[RunRecord]],
    config: EvaluationConfig,
) -> None:
    """The second run's tables, and `first_studies` (study_id, first_score, first_reason) of the first."""
    first, second = ([run_tables(output, private, record.run_id) for record in lineage] for lineage in lineages)
    with CohortDatabase() as other:
        other.load(first)
        database.register(
            "incoming_first",
            other.stream(
                f"SELECT study_id, score AS first_score, {_REASON} AS first_reason "
                f"FROM {other.scored_studies(config.study_score)} ORDER BY study"
            ),
        )
        database.execute("CREATE TABLE first_studies AS SELECT * FROM incoming_first")
    database.load(second)


def _annotate(database: CohortDatabase, names: Names, config: EvaluationConfig) -> tuple[list[Covariate], list[str]]:
    matching = Matching()
    match_reference(database, read_reference(config.reference) if config.reference else None, matching)
    create_results(database, names, config.study_score)
    covariates, notes = all_covariates(database, config, names, matching)
    notes += [
        f"{count} studies of {table} are not in the second run"
        for table, count in matching.n_unmatched.items()
        if count
    ]
    database.execute(
        f"CREATE TABLE paired AS SELECT results.*, {_REASON} AS second_reason, first_score, "
        f"coalesce(first_reason, {NOT_SCORED}) AS first_reason FROM results LEFT JOIN first_studies USING (study_id)"
    )
    return covariates, notes


def _paired(database: CohortDatabase) -> tuple[Units, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The second run's studies; scores and reasons of the first and the second run over them."""
    columns = database.arrays(
        "SELECT subject, CAST(label AS DOUBLE) AS truth, first_score, score, first_reason, second_reason "
        "FROM paired ORDER BY study"
    )
    only_first = database.scalar("SELECT count(*) FROM first_studies ANTI JOIN planned USING (study_id)")
    elsewhere = {"not_in_second_run": only_first} if only_first else {}
    units = Units("study", columns["subject"], columns["truth"].astype(np.float64), elsewhere)
    scores = columns["first_score"].astype(np.float64), columns["score"].astype(np.float64)
    return units, scores, (columns["first_reason"].astype(np.int8), columns["second_reason"].astype(np.int8))


_FLIPS = """
    SELECT study_id, subject_id, $2 AS operating_point, CAST($1 AS DOUBLE) AS threshold, first_score,
           score AS second_score,
           CASE WHEN first_score >= $1 THEN 'positive' ELSE 'negative' END AS first_call,
           CASE WHEN score >= $1 THEN 'positive' ELSE 'negative' END AS second_call,
           CAST(label AS TINYINT) AS reference_label, (score >= $1) = (label = 1) AS second_is_right
    FROM paired
    WHERE first_reason = 0 AND second_reason = 0 AND (first_score >= $1) <> (score >= $1) ORDER BY study
"""

_FLOW = f"""
    SELECT * FROM (
        SELECT 1 AS step, 'planned in the second run' AS name, count(*) AS n_studies FROM paired UNION ALL
        SELECT 2, 'not scored by the first run', count(*) FROM paired WHERE first_reason = {NOT_SCORED} UNION ALL
        SELECT 3, 'failed in the first run', count(*) FROM paired WHERE first_reason = {FAILED} UNION ALL
        SELECT 4, 'failed in the second run', count(*) FROM paired WHERE second_reason = {FAILED} UNION ALL
        SELECT 5, 'only in the first run', count(*) FROM first_studies ANTI JOIN planned USING (study_id) UNION ALL
        SELECT 6, 'scored by both', count(*) FROM paired WHERE first_reason = 0 AND second_reason = 0
    ) ORDER BY step
"""


def _mask_pairs(
    database: CohortDatabase, output: Store, lineages: tuple[list[RunRecord], list[RunRecord]]
) -> MaskPairs:
    return compare_masks(output, *(_shard_ranges(database, output, lineage) for lineage in lineages))


def _shard_ranges(database: CohortDatabase, output: Store, lineage: Sequence[RunRecord]) -> list[ShardRange]:
    ranges = []
    for generation, record in enumerate(lineage):
        database.register("ranged", read_predictions(output, record.run_id))
        there = committed_shards(output, record.run_id)  # masks may have been cleared away to save space
        ranges += [
            ShardRange(row["first"], row["last"], generation, record.run_id, row["shard"])
            for row in database.rows(
                "SELECT shard, min(study_id) AS first, max(study_id) AS last FROM ranged WHERE status = 'ok' "
                "GROUP BY shard ORDER BY shard"
            )
            if row["shard"] in there
        ]
    return ranges


def _numbers(database: CohortDatabase, pairs: MaskPairs) -> tuple[np.ndarray, np.ndarray]:
    """The study's and the subject's number of every frame of `pairs`."""
    tokens, place = np.unique(pairs.study_id, return_inverse=True)
    database.register("masked", pa.table({"study_id": pa.array(tokens).cast(pa.string())}))
    columns = database.arrays("SELECT study, subject FROM masked JOIN planned USING (study_id) ORDER BY study_id")
    return columns["study"][place], columns["subject"][place]


def _write(output: Store, record: RunRecord, first: str, tables: Mapping[str, Sequence[dict]]) -> dict[str, int]:
    metadata = table_metadata(run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated)
    n_rows = {}
    for name, schema in TABLES.items():
        rows = [{key: value for key, value in row.items() if key != "step"} for row in tables.get(name, [])]
        key = output_layout.comparison_file(record.run_id, first, name)
        n_rows[name] = write_table(output, key, metrics_table(name, rows, schema), schema, metadata)
    return n_rows
