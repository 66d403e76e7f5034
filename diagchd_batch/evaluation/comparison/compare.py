"""The entry of `compare`: compares two runs over the same studies by their tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import setting_differences
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import run_tables
from diagchd_batch.evaluation.cohort.flow import create_results
from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS
from diagchd_batch.evaluation.comparison.drift import drift_rows
from diagchd_batch.evaluation.comparison.mask_agreement import mask_case_rows, mask_rows
from diagchd_batch.evaluation.comparison.mask_pairs import MaskPairs, ShardRange, compare_masks
from diagchd_batch.evaluation.comparison.paired_tests import paired_rows, score_test_row
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.match_user_tables import Matching, match_reference
from diagchd_batch.evaluation.operating_points import choose_headline, model_rater, point_columns
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate, all_covariates
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.evaluation.tables.multiplicity import adjust_within_families
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder, Settings
from diagchd_batch.evaluation.tables.writing import metrics_table, write_table
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, FAILED, NOT_SCORED, Units, known_folds
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.columns.comparison_tables import TABLES
from diagchd_batch.results.datasets import committed_shards, read_predictions
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.metrics_tables import remove_other_comparison
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.tables.evaluation_inputs import read_reference

_REASON = (
    f"CAST(CASE WHEN NOT included THEN {EXCLUDED} WHEN n_frames_ok + n_frames_failed = 0 THEN {NOT_SCORED} "
    f"WHEN n_frames_ok = 0 THEN {FAILED} ELSE 0 END AS TINYINT)"
)

_JOB_FILE_KEYS = {"region": "input.region", "frames": "input.frames", "precision": "model.precision"}
"""Fingerprint field → key of the job file."""

_SHOWN_CHARACTERS = 16
"""Characters of a value, of which a digest has 64."""


@dataclass(frozen=True)
class ComparisonSummary:
    """What `compare_runs` wrote.

    Attributes:
        first: Id of the first run.
        second: Id of the second run.
        n_rows: Number of rows by table.
        n_studies: Number of studies scored by both runs.
        n_flips: Number of studies whose call changed at the headline's operating point.
        notes: What was left out, and why.
    """

    first: str
    second: str
    n_rows: Mapping[str, int]
    n_studies: int
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
    """Compare two runs over their lineages, and write the tables of `comparison_tables`.

    Args:
        output: The output that holds both runs.
        private: Its private tree.
        first: Id of the first run.
        second: Id of the second run.
        config: Reference, covariates, operating points and settings of the statistics.
        pseudonymizer: Makes the tokens of this output.
        masks: Whether to decode and compare every pair of masks, too. This takes about a millisecond for each frame.

    Returns:
        What was written.

    Raises:
        UsageError: The output lacks one of the runs.
        InputError: The reference or the covariates cannot be used.
    """
    lineages = resolve_lineage(output, first), resolve_lineage(output, second)
    points, headline = choose_headline(config.operating_points)
    definition = ScoreDefinition.of(config.model_dump())
    rows = RowBuilder(Settings(definition, config.resamples, config.seed), definitions=DEFINITIONS)
    with CohortDatabase() as database:
        _load_both(database, output, private, lineages, config)
        covariates, notes = _load_annotations(database, DisplayNames(pseudonymizer, disclose=config.disclose), config)
        units, scores, reasons = _paired_studies(database)
        has_reference = not np.isnan(units.truth).all()
        if not has_reference:
            notes.append("no reference labels: only agreement and drift are compared")
        tests: list[Row] = []
        flips: list[Row] = []
        drift: list[Row] = []
        for point in points:
            here = rows.with_columns(**point_columns(point), comparator_kind="run", comparator=first)
            of_first, of_second = (
                model_rater(name, score, reason, point)
                for name, score, reason in zip((first, second), scores, reasons, strict=True)
            )
            tests += paired_rows(here, units, of_second, of_first, has_reference=has_reference)
            flips += database.rows(_FLIPS, [point.threshold, point.name])
            drift += drift_rows(rows, units, of_second, of_first, covariates, point.name)
            if point is headline and has_reference:
                tests.append(score_test_row(rows, units, of_second, of_first))
        tables = {"comparison_tests": adjust_within_families([{**row, "family": "runs"} for row in tests])}
        tables |= {"comparison_flips": flips, "comparison_drift": drift}
        pairs = _mask_pairs(database, output, lineages) if masks else None
        if pairs is not None and len(pairs.frame):
            study, subject = _study_and_subject_numbers(database, pairs)
            tables["comparison_masks"] = list(mask_rows(rows, pairs, study, subject, (second, first)))
            tables["comparison_mask_cases"] = list(mask_case_rows(pairs))
        else:
            notes.append("masks were not compared" if pairs is None else "no frame has a mask in both runs")
        tables["comparison_flow"] = [
            *database.rows(_FLOW),
            *({"name": "difference", "note": note} for note in _differences(lineages[0][-1], lineages[1][-1])),
            *({"name": "left_out", "note": note} for note in notes),
        ]
    n_rows = _write(output, lineages[1][-1], first, tables, definition)
    return ComparisonSummary(
        first,
        second,
        n_rows,
        int(np.sum((reasons[0] == 0) & (reasons[1] == 0))),
        sum(row["operating_point"] == headline.name for row in flips),
        tuple(notes),
    )


def _differences(first: RunRecord, second: RunRecord) -> list[str]:
    """Return the settings in which two runs differ, apart from their studies."""
    found = setting_differences(first.fingerprint_fields, second.fingerprint_fields)
    return [
        f"{_JOB_FILE_KEYS.get(name, name)}: {_shown(before)} in the first run, {_shown(after)} in the second"
        for name, (before, after) in found.items()
    ]


def _shown(value: Any) -> str:
    return "not recorded" if value is None else str(value)[:_SHOWN_CHARACTERS]


def _load_both(
    database: CohortDatabase,
    output: Store,
    private: Store,
    lineages: tuple[list[RunRecord], list[RunRecord]],
    config: EvaluationConfig,
) -> None:
    """Load the second run, and the first run's studies as the table `first_studies`.

    The columns of `first_studies` are study_id, first_score, first_reason and first_fold.
    """
    first, second = ([run_tables(output, private, record.run_id) for record in lineage] for lineage in lineages)
    with CohortDatabase() as other:
        other.load(first)
        database.register(
            "incoming_first",
            other.stream(
                f"SELECT study_id, score AS first_score, {_REASON} AS first_reason, fold AS first_fold "
                f"FROM {other.scored_studies(ScoreDefinition.of(config.model_dump()))} ORDER BY study"
            ),
        )
        database.execute("CREATE TABLE first_studies AS SELECT * FROM incoming_first")
    database.load(second)


def _load_annotations(
    database: CohortDatabase, names: DisplayNames, config: EvaluationConfig
) -> tuple[list[Covariate], list[str]]:
    matching = Matching()
    match_reference(database, read_reference(config.reference) if config.reference else None, matching)
    create_results(database, names, ScoreDefinition.of(config.model_dump()))
    covariates, notes = all_covariates(database, config, names, matching)
    notes += [
        f"{count} studies of {table} are not in the second run"
        for table, count in matching.n_unmatched.items()
        if count
    ]
    database.execute(
        f"CREATE TABLE paired AS SELECT results.*, {_REASON} AS second_reason, first_score, first_fold, "
        f"coalesce(first_reason, {NOT_SCORED}) AS first_reason FROM results LEFT JOIN first_studies USING (study_id)"
    )
    return covariates, notes


_OfBothRuns = tuple[np.ndarray, np.ndarray]
"""One array of the first and one of the second run."""


def _paired_studies(
    database: CohortDatabase,
) -> tuple[Units, _OfBothRuns, _OfBothRuns]:
    """Return the second run's studies, and over them the scores and the reasons of the first and of the second run."""
    columns = database.arrays(
        "SELECT subject, CAST(label AS DOUBLE) AS truth, first_score, score, first_reason, second_reason, "
        "CAST(first_fold AS DOUBLE) AS first_fold, CAST(fold AS DOUBLE) AS second_fold FROM paired ORDER BY study"
    )
    only_first = database.scalar("SELECT count(*) FROM first_studies ANTI JOIN planned USING (study_id)")
    other_exclusions = {"not_in_second_run": only_first} if only_first else {}
    folds = _common_folds(columns["first_fold"], columns["second_fold"])
    units = Units("study", columns["subject"], columns["truth"].astype(np.float64), other_exclusions, folds)
    scores = columns["first_score"].astype(np.float64), columns["score"].astype(np.float64)
    return units, scores, (columns["first_reason"].astype(np.int8), columns["second_reason"].astype(np.int8))


def _common_folds(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Return parts of the studies within which the scores of both runs have one scale; None if it is one part."""
    of_runs = [known_folds(folds.astype(np.float64)) for folds in (first, second)]
    known = [folds for folds in of_runs if folds is not None]
    return np.unique(np.stack(known), axis=1, return_inverse=True)[1].ravel() if known else None


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
        there = committed_shards(output, record.run_id)  # score files may have been deleted to save space
        ranges += [
            ShardRange(row["first"], row["last"], generation, record.run_id, row["shard"])
            for row in database.rows(
                "SELECT shard, min(study_id) AS first, max(study_id) AS last FROM ranged WHERE status = 'ok' "
                "GROUP BY shard ORDER BY shard"
            )
            if row["shard"] in there
        ]
    return ranges


def _study_and_subject_numbers(database: CohortDatabase, pairs: MaskPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each frame's study, and of its subject."""
    tokens, place = np.unique(pairs.study_id, return_inverse=True)
    database.register("masked", pa.table({"study_id": pa.array(tokens).cast(pa.string())}))
    columns = database.arrays("SELECT study, subject FROM masked JOIN planned USING (study_id) ORDER BY study_id")
    return columns["study"][place], columns["subject"][place]


def _write(
    output: Store,
    record: RunRecord,
    first: str,
    tables: Mapping[str, Sequence[dict[str, Any]]],
    definition: ScoreDefinition,
) -> dict[str, int]:
    metadata = table_metadata(run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated)
    n_rows = {}
    for name, schema in TABLES.items():
        rows = [{key: value for key, value in row.items() if key != "step"} for row in tables.get(name, [])]
        key = output_layout.comparison_file(record.run_id, first, name)
        n_rows[name] = write_table(output, key, metrics_table(name, rows, schema, definition), schema, metadata)
    remove_other_comparison(output, record.run_id, first, n_rows.keys())
    return n_rows
