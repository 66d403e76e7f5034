"""A study's values in a later plan of a lineage replace those in earlier plans, even if it withdraws them."""

import itertools
from typing import Any

import pyarrow as pa
import pytest

from diagchd_batch.evaluation.database import CohortDatabase, RunTables
from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES

LABELS = (0, 1, None)
EXCLUSIONS: tuple[list[str], ...] = ([], ["consent withdrawn"])


def planned(*plans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rows of the table `planned` by study, for a lineage of runs without results."""
    runs = [
        RunTables(
            f"run-{place}",
            pa.dataset.dataset(PREDICTIONS.empty_table()),
            pa.Table.from_pylist(plan, PLAN_STUDIES).to_reader(),
        )
        for place, plan in enumerate(plans)
    ]
    with CohortDatabase() as database:
        database.load(runs)
        return {row["study_id"]: row for row in database.rows("FROM planned")}


def study(label: int | None, reasons: list[str], subject: str = "p-1") -> dict[str, Any]:
    return {
        "study_id": "s-1",
        "subject_id": subject,
        "source_study_id": "one",
        "label": label,
        "exclude_reasons": reasons,
        "n_images": 0 if reasons else 2,
    }


@pytest.mark.parametrize("labels", itertools.product(LABELS, repeat=3))
def test_the_latest_label_counts_also_where_it_is_withdrawn(labels: tuple[int | None, int | None, int | None]) -> None:
    assert planned(*[[study(label, [])] for label in labels])["s-1"]["manifest_label"] == labels[-1]


@pytest.mark.parametrize("reasons", itertools.product(EXCLUSIONS, repeat=3))
def test_the_latest_exclusion_counts_also_where_it_is_taken_back(
    reasons: tuple[list[str], list[str], list[str]],
) -> None:
    found = planned(*[[study(1, given)] for given in reasons])["s-1"]
    assert (found["exclude_reasons"], found["included"]) == (reasons[-1], not reasons[-1])
    assert found["planned_images"] == (0 if reasons[-1] else 2)


def test_a_plan_that_does_not_have_a_study_says_nothing_about_it() -> None:
    other = {**study(1, []), "study_id": "s-2"}
    assert planned([study(1, []), other], [other])["s-1"]["manifest_label"] == 1


def test_the_latest_subject_counts() -> None:
    assert planned([study(1, [], "p-1")], [study(1, [], "p-2")])["s-1"]["subject_id"] == "p-2"
