"""`export` on the command line: what is written where, and what is refused."""

import csv
import json
import stat
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.models import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy

LATER = "0a1b2c3d-4e5f6071-2"
FORMULA = "=HYPERLINK(A1)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    studies = [MadeStudy(f"study {i}", [[0.1 + 0.02 * i]], int(i > 15)) for i in range(40)]
    made.write_run([*studies, MadeStudy(FORMULA, [[0.95]], 1), MadeStudy("again", [[FAILED]], 1)])
    made.write_run([MadeStudy("again", [[0.97]], 1)], LATER, parent=RUN_ID)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    return made


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_shareable_writes_aggregates_and_says_how_many_rows_it_withheld(made: MadeOutput, tmp_path: Path) -> None:
    destination = tmp_path / "for the paper"
    for _ in range(2):  # an earlier export is replaced
        done = diagchd_batch("export", "shareable", made.output.uri, str(destination), "--run-id", RUN_ID, "--json")
        assert done.exit_code == 0, done.messages
    summary = json.loads(done.printed)
    assert summary["min_cell"] == 10 and summary["n_rows"]["estimates"] > 0
    assert sorted(path.name for path in destination.iterdir()) == sorted(
        [*(f"{name}.csv" for name in summary["n_rows"]), "README.md"]
    )
    for name, n in summary["n_rows"].items():
        assert len(rows_of(destination / f"{name}.csv")) == n
    everything = "".join(path.read_text() for path in destination.iterdir())
    assert "study 1" not in everything and not any(made.tokens.study(f"study {i}") in everything for i in range(40))
    analysed = next(row for row in rows_of(destination / "flow.csv") if row["name"] == "failed")
    assert analysed["n_studies"] == ""  # one study failed


def test_the_worklist_ranks_own_ids_and_is_closed_to_others(made: MadeOutput) -> None:
    done = diagchd_batch("export", "worklist", made.output.uri, "--run-id", RUN_ID, "--json")
    assert done.exit_code == 0, done.messages
    place = Path(json.loads(done.printed)["destination"])
    assert place.is_relative_to(Path(made.output.uri) / output_layout.PRIVATE)
    scored = rows_of(place / "worklist.csv")
    assert [row["study_id"] for row in scored[:2]] == [f"'{FORMULA}", "study 39"]  # no formula in a spreadsheet
    assert [float(row["chd_probability"]) for row in scored] == sorted(
        (float(row["chd_probability"]) for row in scored), reverse=True
    )
    assert [row["study_id"] for row in rows_of(place / "failed.csv")] == ["again"]
    for path in (place, *place.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_the_worklist_of_a_run_that_continues_another_is_of_both(made: MadeOutput, tmp_path: Path) -> None:
    done = diagchd_batch("export", "worklist", made.output.uri, str(tmp_path / "list"), "--run-id", LATER)
    assert done.exit_code == 0, done.messages
    scored = rows_of(tmp_path / "list" / "worklist.csv")
    assert len(scored) == 42 and scored[0]["study_id"] == "again"
    assert not rows_of(tmp_path / "list" / "failed.csv")


@pytest.mark.parametrize(
    ("kind", "place", "says"),
    [
        ("shareable", ".", "part of the output"),
        ("shareable", "private/shared", "part of the output"),
        ("shareable", "../output/shared", "part of the output"),
        ("shareable", "..", "holds it"),
        ("worklist", "worklist", "part of the output"),
        ("worklist", "private/../worklist", "part of the output"),
    ],
)
def test_nothing_is_exported_into_the_output(made: MadeOutput, kind: str, place: str, says: str) -> None:
    done = diagchd_batch("export", kind, made.output.uri, f"{made.output.uri}/{place}", "--run-id", RUN_ID)
    assert done.exit_code == 2 and says in done.messages


def test_other_files_are_not_given_away_with_an_export(made: MadeOutput, tmp_path: Path) -> None:
    (tmp_path / "study 7.png").write_bytes(b"pixels")
    done = diagchd_batch("export", "shareable", made.output.uri, str(tmp_path), "--run-id", RUN_ID)
    assert done.exit_code == 2 and "other files" in done.messages and "study 7" not in done.messages
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study 7.png"]


def test_a_file_is_no_destination(made: MadeOutput, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for kind in ("shareable", "worklist"):
        done = diagchd_batch("export", kind, made.output.uri, str(tmp_path / "file"), "--run-id", RUN_ID)
        assert done.exit_code in (1, 2) and str(tmp_path) in done.messages


def test_runs_that_cannot_be_exported_are_told(made: MadeOutput, tmp_path: Path) -> None:
    for arguments, says in (
        (("--run-id", "nothing-1"), "nothing-1"),
        (("--run-id", LATER), "evaluate"),  # not evaluated
        ((), "no finished run"),
    ):
        done = diagchd_batch("export", "shareable", made.output.uri, str(tmp_path / "x"), *arguments)
        assert done.exit_code == 2 and says in done.messages, done.messages
    assert not (tmp_path / "x").exists()
