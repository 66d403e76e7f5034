"""Out-of-fold predictions of a training: no figure ranks scores of different folds together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.report.document import write_report
from tests.support.evaluated_runs import MODEL, RUN_ID, MadeOutput, MadeStudy

SITES = ("north", "south", "west")
N = 90


def _scores(seed: int, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, folds and scores; the models of the folds differ by `shift` in the level of their scores."""
    random = np.random.default_rng(seed)
    label, fold = random.integers(0, 2, N), np.arange(N) % 3
    return label, fold, np.clip(0.15 + 0.12 * label + shift * fold + 0.1 * random.normal(size=N), 0.001, 0.999)


def _studies(label: np.ndarray, fold: np.ndarray, score: np.ndarray) -> list[MadeStudy]:
    return [
        MadeStudy(f"study-{place:02d}", [[float(np.float32(value))]], label=int(of_study), fold=int(number))
        for place, (of_study, number, value) in enumerate(zip(label, fold, score, strict=True))
    ]


def _evaluated(
    root: Path, label: np.ndarray, fold: np.ndarray, score: np.ndarray, site: Sequence[str] | None = None, **more: Any
) -> MadeOutput:
    made = MadeOutput(root)
    made.write_run(_studies(label, fold, score), fold_names=more.pop("fold_names", ("0", "1", "2")), **more)
    covariates = None
    if site is not None:
        rows = [{"study_id": f"study-{place:02d}", "site": value} for place, value in enumerate(site)]
        covariates = made.table("covariates", rows)
    config = EvaluationConfig(resamples=100, covariates=covariates, prevalence=[0.01])
    evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    return made


def _row(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def _mean(measure: Callable[..., float], label: np.ndarray, fold: np.ndarray, score: np.ndarray, weight: Any) -> float:
    of_folds = [measure(label[fold == one], score[fold == one].astype(np.float32)) for one in range(3)]
    return float(np.average(of_folds, weights=[weight(label[fold == one]) for one in range(3)]))


_MODEL = {"subject_kind": "model", "covariate": None, "analysis_set": "determinate"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    return _evaluated(tmp_path_factory.mktemp("evaluated"), *_scores(1))


def test_auc_and_average_precision_are_means_over_the_folds_for_studies_and_images(evaluated: MadeOutput) -> None:
    label, fold, score = _scores(1)
    estimates = evaluated.metrics("estimates")
    auc = _mean(roc_auc_score, label, fold, score, lambda part: part.sum() * (1 - part).sum())
    precision = _mean(average_precision_score, label, fold, score, lambda part: part.sum())
    assert roc_auc_score(label, score) < auc - 0.1, "the scores of the folds differ in level"
    for unit in ("study", "image"):
        row = _row(estimates, endpoint="roc_auc", unit=unit, **_MODEL)
        assert row["value"] == pytest.approx(auc)
        assert row["ci_low"] < auc < row["ci_high"]
        assert row["ci_method"] == "subject_bootstrap_within_folds_percentile"
        assert row["definition"].startswith("cross-validated")
        assert _row(estimates, endpoint="average_precision", unit=unit, **_MODEL)["value"] == pytest.approx(precision)
    assert not [row for row in estimates if row["endpoint"] == "average_precision_at_prevalence"]


def test_areas_below_the_mean_curves_are_the_measures(evaluated: MadeOutput) -> None:
    estimates, curves = evaluated.metrics("estimates"), evaluated.metrics("curves")
    roc, precision = (
        np.array([(row["x"], row["y"]) for row in curves if row["curve"] == curve])
        for curve in ("roc", "precision_recall")
    )
    area = np.trapezoid(roc[:, 1], roc[:, 0])
    assert area == pytest.approx(_row(estimates, endpoint="roc_auc", unit="study", **_MODEL)["value"])
    assert tuple(roc[0]) == (0, 0)
    assert tuple(roc[-1]) == (1, 1)
    assert (np.diff(roc, axis=0) >= 0).all()
    steps = np.diff(np.r_[0.0, precision[:, 0]]) @ precision[:, 1]
    assert steps == pytest.approx(_row(estimates, endpoint="average_precision", unit="study", **_MODEL)["value"])
    assert {row["threshold"] for row in curves if row["curve"] in ("roc", "precision_recall")} == {None}


def test_each_fold_has_figures_of_its_own_and_rates_pool_over_folds(evaluated: MadeOutput) -> None:
    label, fold, score = _scores(1)
    estimates = evaluated.metrics("estimates")
    for one in range(3):
        inside = fold == one
        row = _row(
            estimates, endpoint="roc_auc", unit="study", covariate="training_fold", level=str(one), subject=MODEL
        )
        assert row["value"] == pytest.approx(roc_auc_score(label[inside], score[inside].astype(np.float32)))
        assert row["n_units"] == inside.sum()
    point = {"operating_point": "default", "unit": "study", **_MODEL}
    sensitivity = _row(estimates, endpoint="sensitivity", **point)
    assert sensitivity["numerator"] == ((score >= 0.5) & (label == 1)).sum()
    assert sensitivity["denominator"] == label.sum()


def test_abstention_leaves_out_the_same_share_of_each_fold(tmp_path: Path) -> None:
    """The uncertain studies of a fold are its wrong ones. The folds differ in how far their scores are from 0.5."""
    fold, label, wrong = np.arange(N) % 3, np.arange(N) // 3 % 2, np.arange(N) % 5 == 0
    margin = 0.05 + 0.15 * fold + np.where(wrong, 0.0, 0.02)
    score = 0.5 + margin * np.where((label == 1) != wrong, 1, -1)
    made = _evaluated(tmp_path, label, fold, score)
    kept = {
        row["n_kept"]: row["error_rate"] for row in made.metrics("abstention") if row["uncertainty"] == "score_margin"
    }
    assert kept[72] == pytest.approx(0), "the 18 wrong calls are the most uncertain of their folds"
    assert kept[N] == pytest.approx(0.2)
    areas = {row["level"]: row for row in made.metrics("estimates") if row["endpoint"] == "abstention_area"}
    assert areas["score_margin"]["value"] == pytest.approx(areas["oracle"]["value"])
    assert areas["score_margin"]["definition"].startswith("cross-validated")


@pytest.mark.parametrize("by_site", [True, False])
def test_a_site_effect_shows_when_sites_are_left_out_and_not_in_random_folds(tmp_path: Path, by_site: bool) -> None:
    """A model that has not seen the site west does not recognise disease there; one that has seen it does."""
    random = np.random.default_rng(4)
    label, site = random.integers(0, 2, N), np.arange(N) % 3
    fold = site if by_site else np.arange(N) // 3 % 3
    learned = ~((site == 2) & by_site)
    score = np.clip(0.4 + 0.3 * label * learned + 0.12 * random.normal(size=N), 0.001, 0.999)
    names, rule = (SITES, "leave_out") if by_site else (("0", "1", "2"), "subject")
    made = _evaluated(tmp_path, label, fold, score, [SITES[one] for one in site], fold_names=names, fold_rule=rule)
    levels = {row["level"] for row in made.metrics("estimates") if row["covariate"] == "training_fold"}
    of_sites = {row["level"] for row in made.metrics("estimates") if row["covariate"] == "site"}
    assert levels == (of_sites if by_site else {"0", "1", "2"}), "a site has one name in all tables"
    assert not levels & set(SITES)
    test = _row(made.metrics("comparisons"), endpoint="roc_auc_interaction", covariate="training_fold")
    assert (test["p_adjusted"] < 0.01) == by_site
    assert test["family"] == "training_fold"
    page = made.output.read(write_report(made.output, RUN_ID)).decode()
    assert ("The folds differ in AUC" in page) == by_site
    assert ("No difference between the folds was found" in page) != by_site


def test_two_trainings_are_compared_within_the_folds_of_both(tmp_path: Path) -> None:
    label, fold, score = _scores(5)
    made = MadeOutput(tmp_path)
    made.write_run(_studies(label, fold, score), fold_names=("0", "1", "2"))
    other_fold = np.arange(N) // 5 % 3
    other = np.clip(score - 0.3 * fold + 0.3 * other_fold, 0.001, 0.999)
    second = "0a1b2c3d-4e5f6071-2"
    made.write_run(_studies(label, other_fold, other), second, fold_names=("0", "1", "2"))
    compare_runs(made.output, made.private, RUN_ID, second, EvaluationConfig(resamples=100), made.tokens, masks=False)
    path = Path(made.output.uri) / output_layout.comparison_file(second, RUN_ID, "comparison_tests")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    auc = _row(rows, endpoint="roc_auc")
    assert auc["definition"].startswith("cross-validated")
    assert auc["difference"] == pytest.approx(0, abs=0.02), "the two differ in the level of the folds' scores alone"


def test_the_report_says_that_it_is_cross_validated(evaluated: MadeOutput) -> None:
    page = evaluated.output.read(write_report(evaluated.output, RUN_ID)).decode()
    assert "Cross-validated in 3 folds: 90 studies" in page.split("</title>")[0]
    for words in (
        "cross-validated in 3 folds",
        f"{N} studies",
        "By fold",
        "cross-validated AUC",
        "The folds differ in sensitivity",
    ):
        assert words in page, words
