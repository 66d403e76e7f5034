"""Tables have no numbers that identify people, and the names of levels reveal no values of the cohort."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from diagchd_batch.config.job_file import EvaluationConfig, NumericCovariate
from diagchd_batch.errors import InputError
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from diagchd_batch.evaluation.subgroups.numeric_covariates import KNOWN, Measurement, measurement_of
from diagchd_batch.evaluation.tables.display_names import DisplayNames, natural_order
from diagchd_batch.exports.shareable import SHARED_TABLES, shareable_tables
from diagchd_batch.studies.identifiers import Pseudonymizer
from tests.support.evaluated_runs import KEY, MadeOutput, MadeStudy

N = 60


def with_covariates(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary], columns: Mapping[str, Sequence[Any]], **config: Any
) -> EvaluationSummary:
    """Evaluate `N` studies, half of them diseased, with covariates: column → values."""
    made.write_run([MadeStudy(f"{i}", [[0.2 + 0.6 * (i % 2)]], i % 2) for i in range(N)])
    rows = [{"study_id": f"{i}", **{name: values[i] for name, values in columns.items()}} for i in range(N)]
    return evaluate(made, covariates=made.table("covariates", rows), **config)


def numbers_in(rows: Iterable[dict[str, Any]]) -> set[int]:
    texts = [str(value) for row in rows for value in row.values()]
    return {round(float(number)) for text in texts for number in re.findall(r"\d+(?:\.\d+)?", text)}


IDENTIFYING: dict[str, list[Any]] = {
    "hospital_number": [48_213_377 + 1_009 * i for i in range(N)],
    "scan_date": [20_240_300 + i // 2 for i in range(N)],
    "phone": [f"0{6_221_000_000 + 17 * i}" for i in range(N)],
    "maternal_age": [19_800_101 + i for i in range(N)],  # the date of birth in the column of a known measurement
    "bed": list(range(N)),
}


@pytest.mark.parametrize("name", IDENTIFYING)
@pytest.mark.parametrize("disclose", [False, True])
def test_numbers_of_unknown_meaning_are_left_out_and_the_notes_say_so(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary], name: str, disclose: bool
) -> None:
    summary = with_covariates(made, evaluate, {name: IDENTIFYING[name]}, disclose=disclose)
    tables = {table: made.metrics(table) for table in (*SHARED_TABLES, "study_results")}
    found = numbers_in(row for rows in tables.values() for row in rows)
    assert not found & {int(value) for value in IDENTIFYING[name] if int(value) >= 1_000}
    note = next(note for note in summary.notes if "left out, because" in note)
    assert name == "bed" or "evaluation.numeric_covariates" in note
    variables = {row["variable"] for row in tables["cohort_characteristics"]}
    assert variables == {"studies", "source_resolution", "number_of_images"}


def test_few_numbers_of_unknown_meaning_are_levels_without_a_mean(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    with_covariates(made, evaluate, {"month": [1 + i % 12 for i in range(N)]})
    rows = [row for row in made.metrics("cohort_characteristics") if row["variable"] == "month"]
    assert {row["statistic"] for row in rows} == {"n", "share"}
    levels = list(dict.fromkeys(row["level"] for row in rows))
    assert levels == [*map(str, range(1, 13)), "missing"]


def test_cut_points_make_levels_of_numbers_but_give_no_mean(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    values = [1_500 + 10 * i for i in range(N)]
    with_covariates(made, evaluate, {"weight": values}, cut_points={"weight": [1_700, 1_900]}, disclose=True)
    rows = [row for row in made.metrics("cohort_characteristics") if row["variable"] == "weight"]
    assert {row["statistic"] for row in rows} == {"n", "share"}
    assert {row["level"] for row in rows} == {"< 1700", "1700 to 1899", "≥ 1900", "missing"}


def test_declared_and_known_measurements_are_rounded_and_have_no_extremes(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    length = [41.234 + 0.777 * i for i in range(N)]
    with_covariates(
        made,
        evaluate,
        {"femur": length, "maternal_age": [20.5 + i / 3 for i in range(N)]},
        numeric_covariates={"femur": {"unit": "mm", "round_to": 0.5}},
        disclose=True,
    )
    rows = [row for row in made.metrics("cohort_characteristics") if row["level"] is None]
    of_femur = {row["statistic"]: row for row in rows if row["variable"] == "femur" and row["group"] == "all"}
    assert set(of_femur) == {"mean", "sd", "q1", "median", "q3"}
    assert {row["unit"] for row in of_femur.values()} == {"mm"}
    rounded = np.round(np.array(length) / 0.5) * 0.5
    assert of_femur["mean"]["value"] == pytest.approx(rounded.mean())
    assert of_femur["median"]["value"] == pytest.approx(np.median(rounded))
    ages = [row for row in rows if row["variable"] == "maternal_age" and row["statistic"] == "mean"]
    assert {row["unit"] for row in ages} == {"years"}


def test_large_whole_numbers_are_rounded_in_a_shareable_export(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    values = [3_000_001 + 2_222 * i for i in range(N)]
    declared = {"area": {"unit": "µm²", "round_to": 1}}
    with_covariates(made, evaluate, {"area": values}, numeric_covariates=declared, disclose=True)
    shared, _ = shareable_tables({name: made.metrics(name) for name in SHARED_TABLES}, 10)
    rows = [r for r in shared["cohort_characteristics"] if r["variable"] == "area" and r["statistic"] not in "n share"]
    assert rows
    assert all(float(row["value"]) == float(f"{row['value']:.4g}") for row in rows)


@pytest.mark.parametrize(
    ("declared", "column", "words"),
    [
        ("absent", "femur", "does not have"),
        ("femur", "femur", "no finite numbers"),
    ],
)
def test_a_declaration_that_does_not_fit_the_table_is_refused(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary], declared: str, column: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        with_covariates(
            made,
            evaluate,
            {column: ["1"] * (N - 1) + ["long"]},
            numeric_covariates={declared: {"unit": "mm", "round_to": 1}},
        )


@pytest.mark.parametrize("wrong", [{}, {"unit": "mm"}, {"unit": "", "round_to": 1}, {"unit": "mm", "round_to": 0}])
def test_a_declaration_needs_unit_and_rounding(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvaluationConfig(numeric_covariates={"femur": wrong})


def test_a_known_measurement_with_an_impossible_number_is_none() -> None:
    assert measurement_of("Maternal_Age", np.array([19.0, 44]), {}) is KNOWN["maternal_age"]
    assert measurement_of("maternal_age", np.array([19.0, 1_980]), {}) is None
    declared = {"maternal_age": NumericCovariate(unit="months", round_to=6)}
    assert measurement_of("maternal_age", np.array([228.0]), declared) == Measurement("months", 6)


def test_rounding_leaves_no_last_bits() -> None:
    assert Measurement("mm", 0.1).rounded(np.array([0.31, np.nan]))[0] == 0.3


def test_names_that_nearly_every_study_has_alone_are_left_out(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    names = [f"patient {i // 2 if i < 40 else i}" for i in range(N)]  # 40 names in 60 studies
    summary = with_covariates(made, evaluate, {"surname": names, "site": [f"s{i % 6}" for i in range(N)]})
    assert any("nearly every study" in note for note in summary.notes)
    rows = made.metrics("cohort_characteristics")
    assert {row["level"] for row in rows if row["variable"] == "site"} == {f"site level {i}" for i in range(1, 7)} | {
        "missing"
    }
    assert not any((row["level"] or "").startswith("covariate") for row in rows)


def test_a_diagnosis_that_nearly_every_study_has_alone_is_left_out(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy(f"{i}", [[0.2 + 0.6 * (i % 2)]], i % 2) for i in range(N)])
    texts = ["tga", *(f"seen by Dr {i}" for i in range(N - 1))]
    rows = [{"study_id": f"{i}", "label": i % 2, "diagnosis": texts[i] if i % 2 else ""} for i in range(N)]
    summary = evaluate(made, reference=made.table("reference", rows))
    assert any(note.startswith("the diagnosis has a level of its own") for note in summary.notes)
    assert not any(row["covariate"] == "diagnosis" for row in made.metrics("estimates"))


def test_a_cell_that_says_missing_is_a_missing_value(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    sites = ["Missing" if i % 3 == 0 else "" if i % 3 == 1 else "clinic" for i in range(N)]
    with_covariates(made, evaluate, {"site": sites})
    rows = [r for r in made.metrics("cohort_characteristics") if (r["variable"], r["statistic"]) == ("site", "n")]
    counts = [(row["level"], row["value"]) for row in rows if row["group"] == "all"]
    assert counts == [("site level 1", 20.0), ("missing", 40.0)]


def test_numbers_of_levels_do_not_follow_the_alphabet(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    letters = [f"name {letter}" for letter in "abcdefghijklmnopqrst"]

    def numbers(key: bytes, disclose: bool = False) -> dict[str, str]:
        return DisplayNames(Pseudonymizer(key), disclose=disclose).numbered("site level", letters)

    shown, other = numbers(KEY), numbers(b"another key of 32 bytes for test")
    ordered = sorted(letters, key=lambda own: natural_order(shown[own]))
    assert set(shown.values()) == set(other.values()) == {f"site level {i}" for i in range(1, 21)}
    assert ordered not in (letters, letters[::-1]) and shown != other
    assert numbers(KEY) == shown
    # Neither does the order of the rows of a table.
    with_covariates(made, evaluate, {"site": [letters[i % 20] for i in range(N)]})
    rows = [row for row in made.metrics("cohort_characteristics") if row["variable"] == "site"]
    levels = list(dict.fromkeys(row["level"] for row in rows))
    assert levels == [*(f"site level {i}" for i in range(1, 21)), "missing"]


def test_names_that_end_in_numbers_sort_by_the_number() -> None:
    names = ["site level 10", "site level 2", "9", "12", "unknown", "9" * 5_000]
    assert sorted(names, key=natural_order) == ["9", "12", "9" * 5_000, "site level 2", "site level 10", "unknown"]
