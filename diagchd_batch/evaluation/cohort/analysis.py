"""Puts the analyses together: which figures are computed for whom, on which units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagchd_batch.config.models import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.cohort.flow import rater_flow_rows
from diagchd_batch.evaluation.operating_points import at_operating_point, point_columns
from diagchd_batch.evaluation.performance import describe
from diagchd_batch.evaluation.performance.accuracy import (
    call_rows,
    comparison_rows,
    other_prevalence_rows,
    prevalence_rows,
    score_rows,
)
from diagchd_batch.evaluation.performance.calibration import calibration_estimate_rows
from diagchd_batch.evaluation.performance.image_level import image_rows
from diagchd_batch.evaluation.performance.segmentation import segmentation_rows
from diagchd_batch.evaluation.readers.agreement import against_majority_rows, agreement_rows
from diagchd_batch.evaluation.readers.arms import arm_estimate_rows, session_rows, two_arm_rows
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy, Reads, majority, reader_study
from diagchd_batch.evaluation.readers.readers_mean import (
    model_against_mean_rows,
    model_scores_against_mean_rows,
    readers_mean_rows,
)
from diagchd_batch.evaluation.subgroups.covariates import Covariate
from diagchd_batch.evaluation.subgroups.levels import interaction_rows, lesion_rows, level_rows
from diagchd_batch.evaluation.tables.multiplicity import adjusted, with_families, with_primary
from diagchd_batch.evaluation.tables.rows import Row, Rows, Settings
from diagchd_batch.evaluation.units import EXCLUDED, Rater, Units


@dataclass(frozen=True)
class Analysis:
    """A cohort ready to be analysed. Arrays have one entry a planned study, in the order of the studies' tokens.

    score: float64, NaN where there is none; reason: int8, why the model has no call (index into `units.REASONS`).
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

    @property
    def excluded(self) -> np.ndarray:
        return self.reason == EXCLUDED

    @property
    def has_reads(self) -> bool:
        return self.reads is not None and len(self.reads) > 0

    @property
    def has_reference(self) -> bool:
        return not np.isnan(self.units.truth).all()

    def model_at(self, point: OperatingPoint) -> Rater:
        return at_operating_point(self.model, self.score, self.reason, point)


@dataclass
class Results:
    """Rows by table; `flow` holds the raters' part. `majority`: its studies' numbers and its calls."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    flow: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    majority: tuple[np.ndarray, Rater] | None = None

    def add(self, table: str, rows: Iterator[Row] | Sequence[Row]) -> None:
        self.tables.setdefault(table, []).extend(rows)


def analyse(
    analysis: Analysis,
    database: CohortDatabase,
    points: Sequence[OperatingPoint],
    headline: OperatingPoint,
    primary_comparator: str | None,
) -> Results:
    """All rows of the metrics tables that hold aggregates. `primary_comparator`: as tables name it."""
    config = analysis.config
    rows = Rows(Settings(config.study_score, config.resamples, config.seed, config.proportion_interval))
    results = Results()
    for table in ("estimates", "comparisons", "cross_tabulation", "curves", "calibration", "worst_cases"):
        results.add(table, [])
    _model(analysis, rows, points, headline, results)
    if analysis.has_reads:
        _readers(analysis, rows, points, headline, results)
    if analysis.has_reference:
        _subgroups(analysis, rows.having(**point_columns(headline)), headline, results)
        results.add("estimates", image_rows(rows, database, analysis.model, points))
        results.add("worst_cases", describe.worst_study_rows(database, headline.threshold))
    _segmentation(analysis, rows, database, results)
    results.add("cohort_characteristics", describe.characteristic_rows(*_characterised(analysis)))
    _multiplicity(analysis, results, primary_comparator)
    return results


def _model(
    analysis: Analysis, rows: Rows, points: Sequence[OperatingPoint], headline: OperatingPoint, results: Results
) -> None:
    """The model against the reference standard, study by study."""
    units = analysis.units
    for point in points:
        here, model = rows.having(**point_columns(point)), analysis.model_at(point)
        results.add("estimates", call_rows(here, units, model, headline=point is headline))
        results.add("estimates", other_prevalence_rows(here, units, model, analysis.config.prevalence))
        results.add("cross_tabulation", describe.cross_rows(units, model, None, point.name))
    model = analysis.model_at(headline)
    results.add("estimates", prevalence_rows(rows, units, model))
    results.add("estimates", score_rows(rows, units, model))
    results.add("estimates", calibration_estimate_rows(rows, units, model))
    results.add("curves", describe.curve_rows(units, model))
    results.add("calibration", describe.calibration_rows(units, model))
    results.flow += rater_flow_rows(units, [model])


def _readers(
    analysis: Analysis, rows: Rows, points: Sequence[OperatingPoint], headline: OperatingPoint, results: Results
) -> None:
    """Readers, their mean and majority against the reference standard and the model; agreement; arms; sessions."""
    assert analysis.reads is not None
    arms = analysis.reads.arms()
    first = analysis.reads.first_sessions(arms[0])
    readers = reader_study(first, analysis.units, analysis.excluded, analysis.reference_from_readers)
    most = majority(readers.readers)
    results.majority = (readers.study, most)
    results.flow += rater_flow_rows(readers.units, [*readers.readers, most])
    if analysis.has_reference:
        _readers_against_reference(rows, readers, most, results)
        for point in points:
            model = analysis.model_at(point).take(readers.study)
            _model_against_readers(
                rows.having(**point_columns(point)), readers, most, model, headline=point is headline, results=results
            )
        model = analysis.model_at(headline).take(readers.study)
        results.add("comparisons", model_scores_against_mean_rows(rows, readers, model))
    whose = np.zeros(len(analysis.units), dtype=bool)
    everyone = reader_study(first, analysis.units, analysis.excluded, whose)  # agreement needs no reference standard
    model = analysis.model_at(headline).take(everyone.study)
    here = rows.having(**point_columns(headline))
    results.add("estimates", agreement_rows(here, everyone, model))
    results.add("estimates", against_majority_rows(here, everyone))
    results.add("estimates", session_rows(rows, analysis.reads, analysis.units, analysis.excluded))
    if analysis.reference_from_readers.any():
        results.notes.append(
            f"{int(analysis.reference_from_readers.sum())} reference labels are the readers' own by their method: the "
            "readers' accuracy is not judged on them (incorporation bias)"
        )
    for arm in arms[1:] if analysis.has_reference else []:
        _second_arm(analysis, rows, (arms[0], arm), results)


def _readers_against_reference(rows: Rows, readers: ReaderStudy, most: Rater, results: Results) -> None:
    for rater in (*readers.readers, most):
        results.add("estimates", call_rows(rows, readers.units, rater, headline=True))
        results.add("estimates", prevalence_rows(rows, readers.units, rater))
        results.add("cross_tabulation", describe.cross_rows(readers.units, rater, None, None))
        if rater.score is not None:
            results.add("estimates", score_rows(rows, readers.units, rater))
            results.add("curves", describe.curve_rows(readers.units, rater))
    results.add("estimates", readers_mean_rows(rows, readers))


def _model_against_readers(
    rows: Rows, readers: ReaderStudy, most: Rater, model: Rater, *, headline: bool, results: Results
) -> None:
    for rater in (*readers.readers, most):
        results.add("comparisons", comparison_rows(rows, readers.units, model, rater, headline=headline))
        results.add(
            "cross_tabulation", describe.cross_rows(readers.units, model, rater, rows.common["operating_point"])
        )
    results.add("comparisons", model_against_mean_rows(rows, readers, model, headline=headline))


def _second_arm(analysis: Analysis, rows: Rows, arms: tuple[str, str], results: Results) -> None:
    assert analysis.reads is not None
    of_arms = [analysis.reads.first_sessions(arm) for arm in arms]
    study = np.unique(np.concatenate([reads.study for reads in of_arms]))
    first, second = (
        reader_study(reads, analysis.units, analysis.excluded, analysis.reference_from_readers, study)
        for reads in of_arms
    )
    results.add("estimates", arm_estimate_rows(rows, second, arms[1]))
    results.add("comparisons", two_arm_rows(rows, first, second, arms))


def _subgroups(analysis: Analysis, rows: Rows, headline: OperatingPoint, results: Results) -> None:
    units, model = analysis.units, analysis.model_at(headline)
    for covariate in analysis.covariates:
        results.add("estimates", level_rows(rows, units, model, covariate))
        results.add("comparisons", interaction_rows(rows, units, model, covariate))
    if analysis.diagnosis is not None:
        results.add("estimates", lesion_rows(rows, units, model, analysis.diagnosis))


def _segmentation(analysis: Analysis, rows: Rows, database: CohortDatabase, results: Results) -> None:
    found = list(segmentation_rows(rows, database, analysis.model))
    results.add("estimates", found)
    if found:
        results.add("worst_cases", describe.worst_image_rows(database))
    else:
        results.notes.append("no usable reference masks: segmentation is left out")


def _characterised(analysis: Analysis) -> tuple[Units, tuple[Covariate, ...]]:
    """The studies that are not excluded, and their covariates."""
    rows = ~analysis.excluded
    covariates = [*analysis.covariates, *([analysis.diagnosis] if analysis.diagnosis else [])]
    return analysis.units.take(rows), tuple(covariate.take(rows) for covariate in covariates)


def _multiplicity(analysis: Analysis, results: Results, primary_comparator: str | None) -> None:
    comparisons = with_families(results.tables["comparisons"])
    primary = analysis.config.primary
    if primary is not None and primary_comparator is not None:
        comparisons, found = with_primary(comparisons, primary, primary_comparator)
        if not found:
            results.notes.append("the primary comparison of the job file could not be made: see evaluation.primary")
    results.tables["comparisons"] = adjusted(comparisons)
