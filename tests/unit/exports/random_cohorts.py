"""Metrics tables of small random cohorts, made without an output so that hundreds of them take seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.operating_points import model_rater, point_columns
from diagchd_batch.evaluation.performance.accuracy import auc_and_brier_rows, call_rows, prevalence_rows
from diagchd_batch.evaluation.performance.calibration import calibrated_estimate_rows, calibration_rows
from diagchd_batch.evaluation.performance.cross_tabulation import cross_rows
from diagchd_batch.evaluation.performance.curves import curve_rows
from diagchd_batch.evaluation.performance.target_prevalence import reweighted_curve_rows, reweighted_score_rows
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.subgroups import covariate_levels as covariates_module
from diagchd_batch.evaluation.subgroups.cohort_characteristics import characteristic_rows
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.subgroups.numeric_covariates import NUMBER_OF_IMAGES
from diagchd_batch.evaluation.subgroups.subgroup_rows import SUBGROUP_RATES, interaction_rows, level_rows
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.evaluation.tables.multiplicity import adjust_within_families, name_families
from diagchd_batch.evaluation.tables.rows import RowBuilder, Settings
from diagchd_batch.evaluation.tables.writing import metrics_table
from diagchd_batch.evaluation.units_and_raters import Rater, Units
from diagchd_batch.statistics.recalibration import Recalibration
from diagchd_batch.studies.identifiers import Pseudonymizer
from tests.support.evaluated_runs import KEY

Tables = dict[str, list[dict[str, Any]]]
AGE, IMAGES, SITE = "maternal_age", "number_of_images", "site"
GROUPS = ("all", "positive", "negative")


@dataclass(frozen=True)
class Cohort:
    """Studies of a random cohort. Arrays have one entry for each study.

    Attributes:
        subject: int64, the subjects' numbers.
        truth: float64, the labels, 0 or 1.
        score: float64, the model's scores.
        age: float64, whole years, NaN where missing.
        images: float64, numbers of images from 1 to 3.
        site: Names of sites.
        covariates: The covariates that are evaluated.
    """

    subject: np.ndarray
    truth: np.ndarray
    score: np.ndarray
    age: np.ndarray
    images: np.ndarray
    site: np.ndarray
    covariates: tuple[str, ...] = (AGE, IMAGES)

    def take(self, rows: np.ndarray) -> "Cohort":
        """Return the cohort of the selected studies."""
        arrays = {name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)

    def group(self, name: str) -> np.ndarray:
        """Return which studies are in a group of `cohort_characteristics`."""
        return np.ones(len(self.truth), dtype=bool) if name == "all" else self.truth == (name == "positive")


def draw_cohort(seed: int) -> Cohort:
    """Draw a cohort with whole-number ages, few missing values, few or many repeated subjects, and rare levels."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(50, 170))
    truth = (rng.random(n) < 0.4).astype(np.float64)
    score = np.clip(rng.normal(0.35 + 0.3 * truth, 0.15), 0.01, 0.99)
    age = rng.integers(18, 44, n).astype(np.float64)
    age[rng.permutation(n)[: rng.integers(0, 10)]] = np.nan
    images = rng.choice([1.0, 2.0, 3.0], n, p=rng.dirichlet([12, 2, 0.7]))
    site = rng.choice(["north", "east", "south"], n, p=rng.dirichlet([8, 4, 0.6]))
    subject = np.arange(n)
    n_pairs = int(rng.choice([0, rng.integers(1, 9), n // 3]))  # type: ignore[arg-type]
    pairs = rng.permutation(n)[: 2 * n_pairs].reshape(-1, 2)
    subject[pairs[:, 1]] = subject[pairs[:, 0]]
    shown = ((AGE, IMAGES), (AGE, SITE), (IMAGES, SITE))[seed % 3]
    return Cohort(np.unique(subject, return_inverse=True)[1], truth, score, age, images, site, shown)


def metrics_of(
    cohort: Cohort,
    covariates: Sequence[Covariate] | None = None,
    points: Sequence[OperatingPoint] = (),
    readers: Sequence[Rater] = (),
) -> Tables:
    """Return the tables that are shared, as `evaluate` makes them.

    Args:
        cohort: The cohort.
        covariates: The covariates, by default those of the cohort.
        points: The operating points, by default the usual one. The first is the headline's.
        readers: The readers.
    """
    config = EvaluationConfig(resamples=100)
    points = points or config.operating_points
    units = Units("study", cohort.subject, cohort.truth)
    models = [model_rater("made", cohort.score, np.zeros(len(cohort.truth), dtype=np.int8), point) for point in points]
    rows = RowBuilder(Settings(ScoreDefinition(), 100, 1))
    here, model = rows.with_columns(**point_columns(points[0])), models[0]
    estimates: list[dict[str, Any]] = []
    for point, at_point in zip(points, models, strict=True):
        of_point = rows.with_columns(**point_columns(point))
        estimates += call_rows(of_point, units, at_point, headline=point is points[0], rates=SUBGROUP_RATES)
    estimates += [*prevalence_rows(rows, units, model), *auc_and_brier_rows(rows, units, model)]
    calibrated = replace(model, score=Recalibration("platt", slope=0.5, intercept=0.1).apply(cohort.score))
    estimates += calibrated_estimate_rows(rows, units, calibrated)
    estimates += reweighted_score_rows(rows, units, model, config.prevalence)
    for reader in readers:
        estimates += call_rows(rows, units, reader, headline=True, rates=SUBGROUP_RATES)
    comparisons: list[dict[str, Any]] = []
    covariates = covariates_of(cohort, config) if covariates is None else covariates
    for covariate in covariates:
        estimates += level_rows(here, units, model, covariate)
        comparisons += interaction_rows(here, units, model, covariate)
    counted = {name: 0 for name in ("excluded", "not_scored", "failed", "without_reference")}
    steps = {"planned": len(cohort.truth), **counted, "analysed": len(cohort.truth)}
    made = {
        "estimates": estimates,
        "comparisons": adjust_within_families(name_families(comparisons)),
        "flow": [{"step": step, "name": name, "n_studies": n} for step, (name, n) in enumerate(steps.items())],
        "cohort_characteristics": list(characteristic_rows(units, covariates)),
        "cross_tabulation": list(cross_rows(units, model, None, points[0].name)),
        "curves": [*curve_rows(units, model), *reweighted_curve_rows(units, model, config.prevalence)],
        "calibration": [
            *calibration_rows(units, model),
            *calibration_rows(units, calibrated, calibrated=True),
        ],
    }
    return {name: metrics_table(name, table).to_pylist() for name, table in made.items()}


def covariates_of(cohort: Cohort, config: EvaluationConfig) -> list[Covariate]:
    """Return age, site and number of images as `evaluate` makes them."""
    names = DisplayNames(Pseudonymizer(KEY), disclose=True)
    texts = {
        AGE: pd.Series(["" if np.isnan(age) else f"{age:.0f}" for age in cohort.age], dtype=object).replace("", None),
        SITE: pd.Series(cohort.site, dtype=object),
    }
    given = [covariates_module._covariate(name, name, values, names, config) for name, values in texts.items()]
    number = covariates_module._from_numbers(IMAGES, cohort.images, (2, 3, 4), NUMBER_OF_IMAGES, least=1)
    made = [*(covariate for covariate in given if isinstance(covariate, Covariate)), number]
    return [covariate for covariate in made if covariate.name in cohort.covariates]
