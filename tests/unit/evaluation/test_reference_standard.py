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
