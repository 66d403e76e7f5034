"""Counts of two things with one name could be mixed up, so such names are refused before and at the export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import InputError, UsageError
from diagchd_batch.evaluation.operating_points import choose_headline
from diagchd_batch.evaluation.subgroups.covariate_levels import _from_numbers
from diagchd_batch.exports.disclosure.publishable_rows import Publication
from diagchd_batch.exports.disclosure.suppression import Counts
from diagchd_batch.exports.disclosure.table_counts import call_cell, collect_counts
from diagchd_batch.exports.shareable import SHARED_TABLES, shareable_tables
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates, read_readers
from tests.support.evaluated_runs import MadeOutput


def points(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "threshold": 0.1 * place, "chosen_on": "x"} for place, name in enumerate(names, start=1)]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b", " A "), ("a", "")])
def test_operating_points_of_one_name_or_none_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"same name|is empty"):
        EvaluationConfig(operating_points=points(*names))


def test_the_added_headline_never_has_the_name_of_another_operating_point() -> None:
    taken = ("default", "Model card", "arg-max", "model card 2")
    config = EvaluationConfig(operating_points=[{**p, "chosen_on": "evaluated cohort"} for p in points(*taken)])
    all_points, headline = choose_headline(config.operating_points)
    assert headline.name == "model card 3"
    assert len({point.name for point in all_points}) == 5


@pytest.mark.parametrize(
    "name",
    [
        "studies",
        "diagnosis",
        "Diagnosis",
        "source_resolution",
        "number_of_images",
        "arm",
        "session",
        "prevalence",
        "bins",
    ],
)
def test_covariates_named_like_our_own_figures_are_refused(tmp_path: Path, name: str) -> None:
    path = MadeOutput(tmp_path).table("covariates", [{"study_id": "a", name: 1}])
    with pytest.raises(InputError, match="rename the column"):
        read_covariates(path)


@pytest.mark.parametrize("reader", ["majority", "Readers_Mean", "readers"])
def test_readers_named_like_a_group_are_refused(tmp_path: Path, reader: str) -> None:
    path = MadeOutput(tmp_path).table("r", [{"study_id": "a", "reader": reader, "status": "read", "call": 1}])
    with pytest.raises(InputError, match="rename the reader"):
        read_readers(path)


def test_an_arm_named_like_a_difference_of_arms_is_refused(tmp_path: Path) -> None:
    row = {"study_id": "a", "reader": "b", "arm": "aided − unaided", "status": "read", "call": 1}
    with pytest.raises(InputError, match="rename the arm"):
        read_readers(MadeOutput(tmp_path).table("r", [row]))


def test_cut_points_that_differ_late_give_levels_of_different_names() -> None:
    cuts = (1_000_000.25, 1_000_000.5, 1_000_000.75)
    assert len(set(_from_numbers("pixels", np.array(cuts), cuts, name_whole=False).levels)) == 5


def test_counts_of_one_name_are_refused() -> None:
    counts = Counts()
    counts.add(("characteristics", "site", "a", "all"), 40)
    counts.add(("characteristics", "site", "a", "all"), 40)
    with pytest.raises(UsageError, match="site"):
        counts.add(("characteristics", "site", "a", "all"), 3)


def characteristics(variable: str, level: str, values: dict[str, int]) -> list[dict[str, Any]]:
    common = {"variable": variable, "level": level, "null_reason": None, "unit": None}
    return [
        {**common, "group": group, "statistic": "n", "value": float(value), "n": 100} for group, value in values.items()
    ]


def test_an_export_of_metrics_with_two_things_of_one_name_is_refused() -> None:
    """Such metrics come from outputs of early versions, which accepted the names."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in SHARED_TABLES}
    tables["cohort_characteristics"] = [
        *characteristics("diagnosis", "tga", {"all": 3}),
        *characteristics("diagnosis", "tga", {"all": 50}),
    ]
    with pytest.raises(UsageError, match="names of their own"):
        shareable_tables(tables, 10)


def row_of_calls(
    endpoint: str, value: float, numerator: float | None = None, denominator: float | None = None
) -> dict[str, Any]:
    totals = {"n_positive": 60, "n_negative": 60, "n_units": 120, "n_subjects": 120, "cluster": "none"}
    totals |= {"n_denominator_subjects": denominator}
    common = {"analysis_set": "determinate", "unit": "study", "subject_kind": "model", "subject": "made"}
    nothing = dict.fromkeys(("covariate", "level", "comparator_kind", "comparator"))
    own = {"endpoint": endpoint, "value": value, "numerator": numerator, "denominator": denominator}
    return {**totals, **common, **nothing, "operating_point": "default", "headline": True, **own}


def test_a_value_that_is_not_that_of_its_own_count_is_withheld() -> None:
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in SHARED_TABLES}
    tables["estimates"] = [row_of_calls(name, 30.0) for name in ("tp", "fn", "fp", "tn")]
    counts = collect_counts(tables)
    foreign = [row_of_calls("tp", 4.0), row_of_calls("sensitivity", 0.05, 3, 60)]
    own = [row_of_calls("tp", 30.0), row_of_calls("sensitivity", 0.5, 30, 60)]
    tables["estimates"] = [*foreign, *own]
    publication = Publication(tables, counts, set(), min_cell=2)
    assert publication.value(call_cell(own[0], "tp")) == 30
    assert [row["value"] for row in publication.estimates()] == [30.0, 0.5]


def test_a_description_that_is_not_that_of_its_own_count_is_withheld() -> None:
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in SHARED_TABLES}
    tables["cohort_characteristics"] = characteristics("site", "a", {"all": 50})
    counts = collect_counts(tables)
    tables["cohort_characteristics"] += characteristics("site", "a", {"all": 3})
    publication = Publication(tables, counts, set(), min_cell=10)
    assert [row["value"] for row in publication.cohort_characteristics()] == [50.0]
