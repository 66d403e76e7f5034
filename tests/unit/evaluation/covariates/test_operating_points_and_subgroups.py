"""Operating points, the primary endpoint, subgroups and study scores."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from tests.support.evaluated_runs import MadeOutput, MadeStudy


def pick(rows: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


def two_groups(made: MadeOutput, n: int = 60) -> tuple[list[MadeStudy], str]:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, n)
    studies = [
        MadeStudy(f"{i}", [[float(np.clip(rng.normal(0.3 + 0.4 * y, 0.2), 0, 1))]], int(y))
        for i, y in enumerate(labels)
    ]
    made.write_run(studies)
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": int(rng.random() < 0.25 + 0.5 * y)}
        for i, y in enumerate(labels)
        for reader in "abcd"
    ]
    return studies, made.table("readers", reads)


def test_a_threshold_chosen_on_this_cohort_is_optimistic_and_never_the_headline(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    two_groups(made)
    points = [
        {"name": "youden", "threshold": 0.42, "chosen_on": "evaluated cohort"},
        {"name": "card", "threshold": 0.5, "chosen_on": "model card"},
    ]
    evaluate(made, operating_points=points)
    rows = [row for row in made.metrics("estimates") if row["operating_point"]]
    assert {(row["operating_point"], row["optimistic"]) for row in rows} == {("youden", True), ("card", False)}
    assert {row["operating_point"] for row in rows if row["headline"]} == {"card"}
    evaluate(made, operating_points=points[:1])
    headline = {(row["threshold"], row["optimistic"]) for row in made.metrics("estimates") if row["headline"]}
    assert headline == {(0.5, False)}


def test_the_primary_comparison_is_marked_and_left_out_of_the_adjustment(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    _, readers = two_groups(made)
    primary = {"endpoint": "sensitivity", "comparator": "readers_mean", "margin": 0.05}
    evaluate(made, readers=readers, primary=primary)
    rows = made.metrics("comparisons")
    row = pick(rows, role="primary")
    assert (row["endpoint"], row["comparator_kind"], row["margin"]) == ("sensitivity", "readers_mean", 0.05)
    assert row["p_adjusted"] is None
    assert row["conclusion"] in ("superior", "non-inferior", "not shown")
    assert (row["conclusion"] == "superior") == (row["ci_low"] > 0)
    family = [
        r for r in rows if r["family"] == "model against readers: specificity" and r["analysis_set"] == "determinate"
    ]
    assert len(family) == 4
    smallest = min(family, key=lambda r: r["p"])
    assert smallest["p_adjusted"] == pytest.approx(min(1.0, 4 * smallest["p"]))


def test_a_primary_comparison_that_cannot_be_made_is_said(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    two_groups(made)
    summary = evaluate(made, primary={"endpoint": "sensitivity", "comparator": "majority"})
    assert any("primary" in note for note in summary.notes)


def test_levels_partition_the_cohort_and_missing_is_a_level(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    studies, _ = two_groups(made)
    covariates = [
        {"study_id": study.study_id, "site": "" if i % 5 == 0 else f"site-{i % 2}", "maternal_age": 20 + i % 25}
        for i, study in enumerate(studies)
    ]
    evaluate(made, covariates=made.table("covariates", covariates), cut_points={"maternal_age": [30, 40]})
    rows = [row for row in made.metrics("estimates") if row["endpoint"] == "accuracy" and row["covariate"]]
    by_covariate: dict[str, Any] = {}
    for row in rows:
        by_covariate.setdefault(row["covariate"], {})[row["level"]] = row["n_units"]
    assert by_covariate["site"] == {"site level 1": 24, "site level 2": 24, "missing": 12}
    assert list(by_covariate["maternal_age"]) == ["< 30", "30 to 39", "≥ 40"]
    assert all(sum(levels.values()) == 60 for levels in by_covariate.values())
    assert {"source_resolution", "number_of_images"} <= set(by_covariate)
    tests = [row for row in made.metrics("comparisons") if row["covariate"] == "site"]
    assert {row["endpoint"] for row in tests} == {
        "sensitivity_interaction",
        "specificity_interaction",
        "roc_auc_interaction",
    }


def test_one_table_has_every_level_smallest_first(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    studies, _ = two_groups(made)
    covariates = [
        {"study_id": study.study_id, "site": "" if i % 5 == 0 else f"site-{i % 2}"} for i, study in enumerate(studies)
    ]
    evaluate(made, covariates=made.table("covariates", covariates))
    rows = made.metrics("subgroups")
    sizes = [row["n_units"] for row in rows]
    assert sizes == sorted(sizes) and rows[0]["level"] == "missing"
    for row in rows:
        (own,) = [
            r
            for r in made.metrics("estimates")
            if (r["endpoint"], r["covariate"], r["level"]) == (row["endpoint"], row["covariate"], row["level"])
        ]
        assert all(row[name] == own[name] for name in ("value", "ci_low", "ci_high", "n_positive", "operating_point"))
        if row["difference_ci_low"] is not None:
            assert row["difference"] == pytest.approx(row["value"] - row["others_value"])
            assert row["difference_ci_low"] < row["difference"] < row["difference_ci_high"]
        else:
            assert row["difference_null_reason"]
    tests = {row["endpoint"]: row for row in made.metrics("comparisons") if row["covariate"] == "site"}
    of_site = [row for row in rows if row["covariate"] == "site"]
    assert len(of_site) == 9
    for row in of_site:
        test = tests[f"{row['endpoint']}_interaction"]
        assert (row["p"], row["p_adjusted"], row["test"]) == (test["p"], test["p_adjusted"], test["test"])


def test_study_score_is_the_mean_the_largest_or_the_median_of_the_images(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy("a", [[0.1], [0.2], [0.9]], 1), MadeStudy("b", [[0.4]], 0)])
    for rule, expected in {"mean": 0.4, "max": 0.9, "median": 0.2}.items():
        evaluate(made, study_score=rule)
        row = pick(made.metrics("study_results"), study_id=made.tokens.study("a"))
        assert row["score"] == pytest.approx(expected, abs=1e-7), rule
