"""Labels that contradict each other, and labels that were derived from the readers' calls."""

from collections.abc import Callable

import pytest

from diagchd_batch.errors import InputError
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from tests.support.evaluated_runs import MadeOutput, MadeStudy


def test_a_label_that_contradicts_the_manifest_is_refused(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy("a", [[0.9]], 1)])
    with pytest.raises(InputError, match="contradict"):
        evaluate(made, reference=made.table("reference", [{"study_id": "a", "label": 0}]))


def test_readers_are_not_judged_by_their_own_majority(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy(f"{i}", [[0.2 + 0.6 * (i % 2)]]) for i in range(8)])
    reference = [
        {"study_id": f"{i}", "label": i % 2, "method": "majority of the readers" if i < 6 else "postnatal echo"}
        for i in range(8)
    ]
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": i % 2} for i in range(8) for reader in "abc"
    ]
    evaluate(made, reference=made.table("reference", reference), readers=made.table("readers", reads))
    rows = [row for row in made.metrics("estimates") if row["endpoint"] == "accuracy" and row["headline"]]
    of_readers = [row for row in rows if row["subject_kind"] in ("reader", "majority")]
    assert of_readers
    assert all((row["n_units"], row["excluded_reasons"]) == (2, "reference_from_readers=6") for row in of_readers)
    assert next(row for row in rows if row["subject_kind"] == "model")["n_units"] == 8


def test_missing_labels_are_corrected_for_only_where_some_are_missing(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    for labels in ((1, 0, 0, 1), (1, 0, 0, None)):
        studies = [
            MadeStudy(f"s{n}", [[(n * 7 % 20) / 20]], label=labels[(n + n // 4) % 4], subject_id=f"p{n}")
            for n in range(40)
        ]
        made.write_run(studies)
        evaluate(made)
        rows = {row["endpoint"]: row for row in made.metrics("estimates") if row["analysis_set"] == "partly_labelled"}
        assert set(rows) == ({"sensitivity_corrected", "specificity_corrected"} if None in labels else set())
        for row in rows.values():
            assert (row["n_units"], row["n_positive"] + row["n_negative"]) == (40, 30)
            assert row["ci_low"] < row["value"] < row["ci_high"]
            assert "like those without" in row["definition"]
