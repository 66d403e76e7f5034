"""Decides which figures are computed for which raters, and on which studies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.cohort.flow import rater_flow_rows
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.operating_points import model_rater, point_columns
from diagchd_batch.evaluation.performance.abstention import abstention_rows, study_uncertainties
from diagchd_batch.evaluation.performance.accuracy import (
    auc_and_brier_rows,
    call_rows,
    comparison_rows,
    corrected_rows,
    other_prevalence_rows,
    prevalence_rows,
)
from diagchd_batch.evaluation.performance.calibration import (
    calibrated_estimate_rows,
    calibration_estimate_rows,
    calibration_rows,
)
from diagchd_batch.evaluation.performance.cross_tabulation import cross_rows
from diagchd_batch.evaluation.performance.curves import curve_rows
from diagchd_batch.evaluation.performance.image_level import image_rows
from diagchd_batch.evaluation.performance.measurements import measurement_rows
from diagchd_batch.evaluation.performance.segmentation import segmentation_rows
from diagchd_batch.evaluation.performance.target_prevalence import (
    predictive_value_rows,
    reweighted_curve_rows,
    reweighted_score_rows,
)
from diagchd_batch.evaluation.performance.worst_cases import worst_image_rows, worst_study_rows
from diagchd_batch.evaluation.readers.agreement import against_majority_rows, agreement_rows
from diagchd_batch.evaluation.readers.aided_and_unaided import arm_estimate_rows, two_arm_rows
from diagchd_batch.evaluation.readers.intra_reader_agreement import session_rows
from diagchd_batch.evaluation.readers.majority import majority
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy, reader_study
from diagchd_batch.evaluation.readers.readers_mean import (
    model_against_mean_rows,
    model_scores_against_mean_rows,
    readers_mean_rows,
)
from diagchd_batch.evaluation.readers.reads import Reads
from diagchd_batch.evaluation.readers.unread_studies import unread_comparison_rows, unread_estimate_rows
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.subgroups.cohort_characteristics import characteristic_rows
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.subgroups.performance_by_level import level_differences, performance_by_level
from diagchd_batch.evaluation.subgroups.subgroup_rows import interaction_rows, lesion_rows, level_rows
from diagchd_batch.evaluation.tables.multiplicity import adjust_within_families, mark_primary, name_families
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder, Settings
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, Rater, Units


@dataclass(frozen=True)
class Analysis:
    """A cohort that is ready to be analysed. Arrays have one entry for each planned study, sorted by token.

    Attributes:
        config: The job's evaluation settings.
        model: The model's name in tables.
        units: The studies with their reference labels.
        score: float64, the model's score, NaN where there is none.
        reason: int8, why the model has no call: an index into `units.REASONS`.
        reference_from_readers: bool, whether the reference label was made of the readers' calls.
        reads: The reads of all readers, or None if there are no readers.
        covariates: The covariates.
        diagnosis: The diagnoses, or None if there are none.
        calibrated: float64, the score with the package's calibration; None without one. Calls and ranks use `score`.
    """

    config: EvaluationConfig
    model: str
    units: Units
    score: np.ndarray
    reason: np.ndarray
    reference_from_readers: np.ndarray
    reads: Reads | None
    covariates: tuple[Covariate, ...]
    diagnosis: Covariate | None
    calibrated: np.ndarray | None = None

    @property
    def excluded(self) -> np.ndarray:
        """bool: whether the manifest excludes the study."""
        return self.reason == EXCLUDED

    @property
    def has_reference(self) -> bool:
        """Whether any study has a reference label."""
        return not np.isnan(self.units.truth).all()

    def model_at(self, point: OperatingPoint) -> Rater:
        """Return the model at an operating point."""
        return model_rater(self.model, self.score, self.reason, point)


@dataclass
class Results:
    """What `analyse` computes.

    Attributes:
        tables: Rows by table.
        flow: Rows of the table `flow` about the raters.
        notes: What was left out, and why.
        majority: The numbers of the studies that anyone read, and the majority's calls on them; None without readers.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    flow: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    majority: tuple[np.ndarray, Rater] | None = None

    def add(self, table: str, rows: Iterator[Row] | Sequence[Row]) -> None:
        """Append rows to a table.

        Args:
            table: The table's name.
            rows: Its further rows.
        """
        self.tables.setdefault(table, []).extend(rows)


def analyse(
    analysis: Analysis,
    database: CohortDatabase,
    points: Sequence[OperatingPoint],
    headline: OperatingPoint,
    primary_comparator: str | None,
) -> Results:
    """Compute the rows of all metrics tables that hold aggregates.

    Args:
        analysis: The cohort.
        database: A database with the tables `frames`, `planned`, `labels` and `results`.
        points: The operating points to evaluate.
        headline: The one of the headline table.
        primary_comparator: The primary endpoint's comparator as tables name it, or None.

    Returns:
        The rows by table.
    """
    config = analysis.config
    definition = ScoreDefinition.of(config.model_dump())
    rows = RowBuilder(Settings(definition, config.resamples, config.seed, config.proportion_interval))
    results = Results()
    for table in ("estimates", "comparisons", "cross_tabulation", "curves", "calibration", "abstention", "worst_cases"):
        results.add(table, [])
    _add_model(analysis, rows, points, headline, results)
    if analysis.reads is not None and len(analysis.reads):
        _add_readers(analysis, analysis.reads, rows, points, headline, results)
    if analysis.has_reference:
        _add_subgroups(analysis, rows.with_columns(**point_columns(headline)), headline, results)
        results.add("estimates", image_rows(rows, database, analysis.model, points))
        _add_abstention(analysis, rows.with_columns(**point_columns(headline)), database, headline, results)
        results.add("worst_cases", worst_study_rows(database, headline.threshold))
    _add_segmentation(analysis, rows, database, results)
    _add_characteristics(analysis, results)
    _adjust_for_multiplicity(analysis, results, primary_comparator)
    _add_performance_by_level(analysis, headline, results)
    return results


def _add_model(
    analysis: Analysis,
    rows: RowBuilder,
    points: Sequence[OperatingPoint],
    headline: OperatingPoint,
    results: Results,
) -> None:
    """Evaluate the model against the reference standard, study by study."""
    units = analysis.units
    for point in points:
        here, model = rows.with_columns(**point_columns(point)), analysis.model_at(point)
        results.add("estimates", call_rows(here, units, model, headline=point is headline))
        results.add("estimates", corrected_rows(here, units, model))
        results.add("estimates", other_prevalence_rows(here, units, model, analysis.config.prevalence))
        results.add("cross_tabulation", cross_rows(units, model, None, point.name))
    model = analysis.model_at(headline)
    results.add("estimates", prevalence_rows(rows, units, model))
    results.add("estimates", auc_and_brier_rows(rows, units, model))
    results.add("estimates", calibration_estimate_rows(rows, units, model))
    results.add("estimates", reweighted_score_rows(rows, units, model, analysis.config.prevalence))
    results.add("curves", curve_rows(units, model))
    results.add("curves", predictive_value_rows(units, model, headline.threshold, analysis.config.prevalence))
    results.add("curves", reweighted_curve_rows(units, model, analysis.config.prevalence))
    results.add("calibration", calibration_rows(units, model))
    if analysis.calibrated is not None:
        calibrated = replace(model, score=analysis.calibrated)
        results.add("estimates", calibrated_estimate_rows(rows, units, calibrated))
        results.add("calibration", calibration_rows(units, calibrated, calibrated=True))
    results.flow += rater_flow_rows(units, [model])


def _add_abstention(
    analysis: Analysis, rows: RowBuilder, database: CohortDatabase, headline: OperatingPoint, results: Results
) -> None:
    model, measured = analysis.model_at(headline), study_uncertainties(database)
    curves, areas = abstention_rows(rows, analysis.units, model, headline.threshold, measured)
    results.add("abstention", curves)
    results.add("estimates", areas)


def _add_readers(
    analysis: Analysis,
    reads: Reads,
    rows: RowBuilder,
    points: Sequence[OperatingPoint],
    headline: OperatingPoint,
    results: Results,
) -> None:
    """Evaluate the readers, their mean and their majority, and the model against them; then agreement and arms."""
    arms = reads.arms()
    first = reads.first_sessions(arms[0])
    readers = reader_study(first, analysis.units, analysis.excluded, analysis.reference_from_readers)
    majority_rater = majority(readers.readers)
    results.majority = (readers.study, majority_rater)
    results.flow += rater_flow_rows(readers.units, [*readers.readers, majority_rater])
    if analysis.has_reference:
        _add_readers_against_reference(rows, readers, majority_rater, results)
        for point in points:
            here, model = rows.with_columns(**point_columns(point)), analysis.model_at(point).take(readers.study)
            _add_model_against_readers(
                here, readers, majority_rater, model, headline=point is headline, results=results
            )
        model = analysis.model_at(headline).take(readers.study)
        results.add("comparisons", model_scores_against_mean_rows(rows, readers, model))
    _add_agreement(analysis, reads, first, rows, headline, results)
    if analysis.reference_from_readers.any():
        results.notes.append(
            f"{int(analysis.reference_from_readers.sum())} reference labels are the readers' own by their method: the "
            "readers' accuracy is not judged on them (incorporation bias)"
        )
    for arm in arms[1:] if analysis.has_reference else []:
        _add_second_arm(analysis, reads, rows, (arms[0], arm), results)


def _add_readers_against_reference(
    rows: RowBuilder, readers: ReaderStudy, majority_rater: Rater, results: Results
) -> None:
    for rater in (*readers.readers, majority_rater):
        results.add("estimates", call_rows(rows, readers.units, rater, headline=True))
        results.add("estimates", prevalence_rows(rows, readers.units, rater))
        results.add("cross_tabulation", cross_rows(readers.units, rater, None, None))
        if rater.score is not None:
            results.add("estimates", auc_and_brier_rows(rows, readers.units, rater))
            results.add("curves", curve_rows(readers.units, rater))
    results.add("estimates", readers_mean_rows(rows, readers))
    results.add("estimates", unread_estimate_rows(rows, readers))


def _add_model_against_readers(
    rows: RowBuilder,
    readers: ReaderStudy,
    majority_rater: Rater,
    model: Rater,
    *,
    headline: bool,
    results: Results,
) -> None:
    for rater in (*readers.readers, majority_rater):
        results.add("comparisons", comparison_rows(rows, readers.units, model, rater, headline=headline))
        results.add("cross_tabulation", cross_rows(readers.units, model, rater, rows.common["operating_point"]))
    results.add("comparisons", model_against_mean_rows(rows, readers, model, headline=headline))
    if headline:
        results.add("comparisons", unread_comparison_rows(rows, readers, model))


def _add_agreement(
    analysis: Analysis, reads: Reads, first: Reads, rows: RowBuilder, headline: OperatingPoint, results: Results
) -> None:
    """Estimate agreement. It needs no reference standard, so labels made of the readers' calls exclude no study."""
    nowhere = np.zeros(len(analysis.units), dtype=bool)
    readers = reader_study(first, analysis.units, analysis.excluded, nowhere)
    model = analysis.model_at(headline).take(readers.study)
    here = rows.with_columns(**point_columns(headline))
    results.add("estimates", agreement_rows(here, readers, model))
    results.add("estimates", against_majority_rows(here, readers))
    results.add("estimates", session_rows(rows, reads, analysis.units, analysis.excluded))


def _add_second_arm(
    analysis: Analysis, reads: Reads, rows: RowBuilder, arms: tuple[str, str], results: Results
) -> None:
    first_sessions = [reads.first_sessions(arm) for arm in arms]
    study = np.unique(np.concatenate([of_arm.study for of_arm in first_sessions]))
    first, second = (
        reader_study(of_arm, analysis.units, analysis.excluded, analysis.reference_from_readers, study)
        for of_arm in first_sessions
    )
    results.add("estimates", arm_estimate_rows(rows, second, arms[1]))
    results.add("comparisons", two_arm_rows(rows, first, second, arms))


def _add_subgroups(analysis: Analysis, rows: RowBuilder, headline: OperatingPoint, results: Results) -> None:
    units, model = analysis.units, analysis.model_at(headline)
    for covariate in analysis.covariates:
        results.add("estimates", level_rows(rows, units, model, covariate))
        results.add("comparisons", interaction_rows(rows, units, model, covariate))
    if analysis.diagnosis is not None:
        results.add("estimates", lesion_rows(rows, units, model, analysis.diagnosis))


def _add_performance_by_level(analysis: Analysis, headline: OperatingPoint, results: Results) -> None:
    """Join what `_add_subgroups` computed to one table. The adjusted p values must be known."""
    differences: list[Row] = []
    if analysis.has_reference:
        model = analysis.model_at(headline)
        for covariate in analysis.covariates:
            differences += level_differences(analysis.units, model, covariate)
    names = [covariate.name for covariate in analysis.covariates]
    tables = results.tables["estimates"], results.tables["comparisons"]
    results.add("subgroups", performance_by_level(*tables, differences, names))


def _add_segmentation(analysis: Analysis, rows: RowBuilder, database: CohortDatabase, results: Results) -> None:
    found = list(segmentation_rows(rows, database, analysis.model))
    results.add("estimates", found)
    results.add("estimates", measurement_rows(rows, database, analysis.model))
    if found:
        results.add("worst_cases", worst_image_rows(database))
    else:
        results.notes.append("no usable reference masks: segmentation is left out")


def _add_characteristics(analysis: Analysis, results: Results) -> None:
    """Describe the studies that are not excluded."""
    rows = ~analysis.excluded
    covariates = [*analysis.covariates, *([analysis.diagnosis] if analysis.diagnosis else [])]
    described = characteristic_rows(analysis.units.take(rows), [covariate.take(rows) for covariate in covariates])
    results.add("cohort_characteristics", described)


def _adjust_for_multiplicity(analysis: Analysis, results: Results, primary_comparator: str | None) -> None:
    comparisons = name_families(results.tables["comparisons"])
    primary = analysis.config.primary
    if primary is not None and primary_comparator is not None:
        comparisons, found = mark_primary(comparisons, primary, primary_comparator)
        if not found:
            results.notes.append("the primary comparison of the job file could not be made: see evaluation.primary")
    results.tables["comparisons"] = adjust_within_families(comparisons)
