"""The worklist agrees with the evaluation on every study, and takes its identifiers from the latest plan."""

import csv
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.exports import spreadsheets
from diagchd_batch.exports.spreadsheets import to_xlsx
from diagchd_batch.exports.worklist import SCORED, export_worklist
from diagchd_batch.results.output import open_output
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.storage import open_store
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

CHILD = "0a1b2c3d-4e5f6071-2"


def worklist(
    made: MadeOutput, run_id: str = RUN_ID, study_score: str = "mean", image_score: str = "mean"
) -> dict[str, dict[str, str]]:
    """Export the worklist and return the rows of `worklist.csv` by token."""
    record = read_run_record(made.output, run_id)
    assert record is not None
    record = record.model_copy(
        update={"config": {"evaluation": {"study_score": study_score, "image_score": image_score}}}
    )
    destination = made.root / f"worklist of {run_id} by {study_score} and {image_score}"
    export_worklist(open_output(made.output.uri), record, open_store(str(destination), owner_only=True))
    with (Path(destination) / f"{SCORED}.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["token"]: row for row in csv.DictReader(file)}


def frames_around_the_threshold() -> list[tuple[float, float]]:
    """Return pairs of probabilities whose mean is 0.5 or differs from it by a few units in the last place."""
    one = np.float32(1)
    pairs = []
    for exponent in (10, 18, 24):
        small = np.float32(2.0**-exponent)
        for low in (np.nextafter(small, np.float32(0)), small, np.nextafter(small, one)):
            pairs.append((float(low), float(one - small)))
    return pairs


@pytest.mark.parametrize("image_score", ["mean", "max", "median", "top_k"])
@pytest.mark.parametrize("study_score", ["mean", "max", "median"])
def test_scores_and_calls_are_those_of_the_evaluation(tmp_path: Path, study_score: str, image_score: str) -> None:
    made = MadeOutput(tmp_path)
    rng = np.random.default_rng(5)
    frames = [*frames_around_the_threshold(), *(tuple(rng.random(3).tolist()) for _ in range(20))]
    made.write_run(
        [
            MadeStudy(f"{place}", [list(values), *([value] for value in values)][: 1 + place % 3], place % 2)
            for place, values in enumerate(frames)
        ]
    )
    config = EvaluationConfig(resamples=100, study_score=study_score, image_score=image_score)
    evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    evaluated = {row["study_id"]: row for row in made.metrics("study_results")}
    listed = worklist(made, study_score=study_score, image_score=image_score)
    assert listed.keys() == evaluated.keys()
    assert {token: row["chd_call"] for token, row in listed.items()} == {
        token: row["call"] for token, row in evaluated.items()
    }
    for token, row in listed.items():
        assert float(row["chd_probability"]) == round(evaluated[token]["score"], 6)


def test_identifiers_are_those_of_the_latest_plan_that_has_the_study(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    names = [f"study {number}" for number in range(30)]
    made.write_run([MadeStudy(name, [[0.4]], subject_id="wrong", fetus="1") for name in names])
    corrected = [MadeStudy(name, [[0.6]], subject_id=f"subject of {name}", fetus="2") for name in names[:10]]
    withdrawn = [MadeStudy(name, [[0.6]], subject_id=None, fetus=None) for name in names[10:20]]
    made.write_run([*corrected, *withdrawn], CHILD, parent=RUN_ID)
    rows = worklist(made, CHILD)
    expected = {name: (f"subject of {name}", "2") for name in names[:10]}
    expected |= dict.fromkeys(names[10:20], ("", "")) | dict.fromkeys(names[20:], ("wrong", "1"))
    assert {row["study_id"]: (row["subject_id"], row["fetus"]) for row in rows.values()} == expected


def test_a_workbook_has_the_rows_of_the_csv_file_and_ids_as_they_are(tmp_path: Path) -> None:
    """Ids have leading zeros, or look like a date, a formula, an address or a number in scientific form."""
    made = MadeOutput(tmp_path)
    names = ["00123", "2-1", "=1+1", "https://example.org/x", "1E5", "Müller", "two\nlines", "control \x01"]
    made.write_run([MadeStudy(name, [[0.1 + place / 20]]) for place, name in enumerate(names)])
    record = read_run_record(made.output, RUN_ID)
    place = made.root / "worklist"
    for _ in range(2):  # a second one replaces the first
        export_worklist(open_output(made.output.uri), record, open_store(str(place), owner_only=True), "xlsx")
        files = {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".xlsx"}
    assert files.keys() == {"worklist.xlsx", "failed.xlsx"}
    header, *rows = openpyxl.load_workbook(place / "worklist.xlsx").active.iter_rows(values_only=True)
    in_book = {row[header.index("token")]: dict(zip(header, row, strict=True)) for row in rows}
    in_csv = worklist(made)
    assert {row["study_id"] for row in in_book.values()} == {name.replace("\x01", "_x0001_") for name in names}
    assert in_book.keys() == in_csv.keys()
    for token, row in in_book.items():
        assert row["chd_probability"] == float(in_csv[token]["chd_probability"])
        assert (row["rank"], row["chd_call"]) == (int(in_csv[token]["rank"]), in_csv[token]["chd_call"])


def test_more_rows_than_a_sheet_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "_MAX_SHEET_ROWS", 4)
    rows = [{"a": str(number)} for number in range(4)]
    assert to_xlsx(rows[:3], ["a"]) == to_xlsx(rows[:3], ["a"])
    with pytest.raises(UsageError, match="holds 3 rows, and there are more; use --format csv"):
        to_xlsx(rows, ["a"])


def test_a_study_that_a_later_plan_excludes_is_not_listed(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("kept", [[0.9]]), MadeStudy("consent withdrawn", [[0.8]])])
    excluded = MadeStudy("consent withdrawn", exclude_reason="no consent")
    made.write_run([excluded, MadeStudy("new", [[0.7]])], CHILD, parent=RUN_ID)
    assert {row["study_id"] for row in worklist(made, CHILD).values()} == {"kept", "new"}


def test_studies_that_are_not_evaluable_come_after_all_others_without_rank_and_call(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    frames = {"high": (0.8, True), "low": (0.1, True), "blank": (0.99, False), "no check": (0.4, None)}
    made.write_run(
        [
            MadeStudy(name, [[{"chd_probability": value, "evaluable": evaluable}]])
            for name, (value, evaluable) in frames.items()
        ]
    )
    rows = list(worklist(made).values())
    assert [(row["study_id"], row["rank"], row["chd_call"], row["evaluable"]) for row in rows] == [
        ("high", "1", "positive", "yes"),
        ("no check", "2", "negative", "yes"),
        ("low", "3", "negative", "yes"),
        ("blank", "", "not evaluable", "no"),
    ]
