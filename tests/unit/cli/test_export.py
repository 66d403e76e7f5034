"""`export` on the command line: which files it writes, and which requests it refuses."""

import csv
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import DisclosureConfig, EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.exports.destinations import MARKER, ExportKind, write_export
from diagchd_batch.storage import open_store
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.storage.store import Contents
from tests.support.command_line import Ended, diagchd_batch
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
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_shareable_writes_aggregates_and_says_how_many_rows_it_withheld(made: MadeOutput, tmp_path: Path) -> None:
    destination = tmp_path / "for the paper"
    for _ in range(2):  # an earlier export is replaced
        done = diagchd_batch("export", "shareable", made.output.uri, str(destination), "--run-id", RUN_ID, "--json")
        assert done.exit_code == 0, done.messages
    summary = json.loads(done.printed)
    assert summary["min_cell"] == 10 and summary["n_rows"]["estimates"] > 0
    assert sorted(path.name for path in destination.iterdir()) == sorted(
        [*(f"{name}.csv" for name in summary["n_rows"]), "README.md", MARKER]
    )
    for name, n in summary["n_rows"].items():
        assert len(rows_of(destination / f"{name}.csv")) == n
    everything = "".join(path.read_text() for path in destination.iterdir())
    assert "study 1" not in everything and not any(made.tokens.study(f"study {i}") in everything for i in range(40))
    analysed = next(row for row in rows_of(destination / "flow.csv") if row["name"] == "failed")
    assert analysed["n_studies"] == ""  # one study failed


def test_every_min_cell_of_a_job_file_is_an_option_too(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path / "output")
    made.write_run([MadeStudy(f"study {i}", [[0.1 + 0.02 * i]], int(i > 15)) for i in range(40)])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    place = (made.output.uri, str(tmp_path / "shared"), "--run-id", RUN_ID, "--forget-earlier")
    for min_cell, said in ((2, "Counts of 1 are withheld"), (1, "No counts are withheld")):
        assert DisclosureConfig(min_cell=min_cell).min_cell == min_cell
        done = diagchd_batch("export", "shareable", *place, "--min-cell", str(min_cell), "--json")
        assert done.exit_code == 0, done.messages
        assert json.loads(done.printed)["min_cell"] == min_cell
        assert said in (tmp_path / "shared" / "README.md").read_text()
    assert diagchd_batch("export", "shareable", *place, "--min-cell", "0").exit_code == 2
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        DisclosureConfig(min_cell=0)


def test_a_later_export_of_a_lineage_withholds_totals_that_few_studies_changed(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path / "output")
    made.write_run([MadeStudy(f"study {i}", [[0.1 + 0.02 * i]], int(i > 19)) for i in range(40)])
    made.write_run([MadeStudy("new", [[0.97]], 1)], LATER, parent=RUN_ID)
    for run_id in (RUN_ID, LATER):
        evaluate_run(made.output, made.private, run_id, EvaluationConfig(resamples=100), made.tokens)

    def analysed(run_id: str, *options: str) -> str:
        destination = tmp_path / "shared"
        done = diagchd_batch("export", "shareable", made.output.uri, str(destination), "--run-id", run_id, *options)
        assert done.exit_code == 0, done.messages
        return next(row["n_studies"] for row in rows_of(destination / "flow.csv") if row["name"] == "analysed")

    assert analysed(RUN_ID) == analysed(RUN_ID) == "40"
    assert analysed(LATER) == ""  # The difference between 41 and 40 would reveal the result of the added study.
    assert analysed(LATER, "--forget-earlier") == "41"
    assert len(list(made.private.list(output_layout.export_records_prefix(RUN_ID)))) == 3


def test_the_worklist_ranks_own_ids_and_is_closed_to_others(made: MadeOutput) -> None:
    done = diagchd_batch("export", "worklist", made.output.uri, "--run-id", RUN_ID, "--json")
    assert done.exit_code == 0, done.messages
    place = Path(json.loads(done.printed)["destination"])
    assert place.is_relative_to(Path(made.output.uri) / output_layout.PRIVATE)
    scored = rows_of(place / "worklist.csv")
    assert [row["study_id"] for row in scored[:2]] == [f"'{FORMULA}", "study 39"]  # A spreadsheet shows it as text.
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
        ("shareable", "_private/shared", "part of the output"),
        ("shareable", "../output/shared", "part of the output"),
        ("shareable", "..", "holds it"),
        ("worklist", "worklist", "part of the output"),
        ("worklist", "_private/../worklist", "part of the output"),
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


def _kept(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def _export(made: MadeOutput, kind: str, place: Path) -> Ended:
    return diagchd_batch("export", kind, made.output.uri, str(place), "--run-id", RUN_ID)


@pytest.mark.parametrize("kind", ["shareable", "worklist"])
@pytest.mark.parametrize(
    "name",
    ["README.md", "flow.csv", "worklist.csv", "failed.csv", "notes.txt", ".hidden", "a/b", ".tmp-0123456789abcdef"],
)
def test_no_file_is_overwritten_that_an_export_did_not_write(
    made: MadeOutput, tmp_path: Path, kind: str, name: str
) -> None:
    for place in (tmp_path / "foreign", tmp_path / "beside an export"):
        if place.name != "foreign":
            assert _export(made, kind, place).exit_code == 0
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
        before = _kept(place)
        done = _export(made, kind, place)
        assert done.exit_code == 2
        assert "empty or new directory" in done.messages
        assert _kept(place) == before


@pytest.mark.parametrize(("first", "second"), [("shareable", "worklist"), ("worklist", "shareable")])
def test_exports_of_two_kinds_never_meet(made: MadeOutput, tmp_path: Path, first: str, second: str) -> None:
    assert _export(made, first, tmp_path / "x").exit_code == 0
    before = _kept(tmp_path / "x")
    done = _export(made, second, tmp_path / "x")
    assert done.exit_code == 2
    assert f"an export of kind {first}" in done.messages
    assert _kept(tmp_path / "x") == before
    assert _export(made, first, tmp_path / "x").exit_code == 0  # An earlier export of the same kind is replaced.
    assert _kept(tmp_path / "x") == before


def test_nothing_about_single_studies_enters_a_directory_of_a_shareable_export(
    made: MadeOutput, tmp_path: Path
) -> None:
    given_away = tmp_path / "given away"
    assert _export(made, "shareable", given_away).exit_code == 0
    (tmp_path / "link").symlink_to(given_away)
    before = _kept(given_away)
    for place in (given_away / "more", given_away / "more" / "still", tmp_path / "link" / "more"):
        for kind in ("worklist", "png"):
            done = _export(made, kind, place)
            assert done.exit_code == 2 and "given away" in done.messages, done.messages
        done = diagchd_batch("query", made.output.uri, "FROM predictions", "--out", str(place) + ".csv")
        assert done.exit_code == 2 and "given away" in done.messages, done.messages
    assert _kept(given_away) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_names_that_a_stranger_puts_above_a_destination_stop_nothing(made: MadeOutput, tmp_path: Path) -> None:
    marker, runs = tmp_path / MARKER, tmp_path / output_layout.RUNS_PREFIX
    marker.write_text('{"kind": "shareable", "files": {}}')
    (runs / f"run_id={RUN_ID}").mkdir(parents=True)
    assert _export(made, "worklist", tmp_path / "x").exit_code == 2
    for path in (marker, runs):
        os.chown(path, 34567, 34567)
    assert _export(made, "worklist", tmp_path / "x").exit_code == 0
    marker.unlink()
    os.mkfifo(marker)
    assert _export(made, "worklist", tmp_path / "x").exit_code == 0


def test_a_worklist_enters_no_other_output_but_its_private_tree(made: MadeOutput, tmp_path: Path) -> None:
    other = MadeOutput(tmp_path / "other")
    other.write_run([MadeStudy("A", [[0.5]])])
    tables = Path(other.output.uri)
    for place in (tables / "list", tables / "scores" / "list"):
        assert _export(made, "worklist", place).exit_code == 2
        assert not place.exists()
    private = tables / output_layout.PRIVATE / "list of another"
    assert _export(made, "worklist", private).exit_code == 0


def test_links_and_damaged_markers_are_refused(made: MadeOutput, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "target").write_text("mine")
    (tmp_path / "linked" / "README.md").symlink_to(tmp_path / "target")
    assert _export(made, "shareable", tmp_path / "linked").exit_code == 2
    assert _export(made, "shareable", tmp_path / "marked").exit_code == 0
    (tmp_path / "marked" / MARKER).write_text("{}")
    assert _export(made, "shareable", tmp_path / "marked").exit_code == 2
    assert (tmp_path / "target").read_text() == "mine"


@pytest.mark.parametrize("written", range(5))
def test_an_interrupted_export_can_be_repeated(tmp_path: Path, written: int) -> None:
    class ExportInterruptedError(Exception):
        pass

    class Failing(LocalStore):
        left = written

        def replace(self, key: str, data: Contents) -> None:
            if self.left == 0:
                raise ExportInterruptedError
            self.left -= 1
            super().replace(key, data)

    uri = str(tmp_path / "x")
    write_export(open_store(uri), ExportKind.SHAREABLE, {"a": b"1", "b": b"2", "old": b"3"})
    files = {"a": b"4", "b": b"5", "new": b"6"}
    with pytest.raises(ExportInterruptedError):
        write_export(Failing(uri), ExportKind.SHAREABLE, files)
    write_export(open_store(uri), ExportKind.SHAREABLE, files)
    assert {name: data for name, data in _kept(tmp_path / "x").items() if name != MARKER} == files
    marker = json.loads((tmp_path / "x" / MARKER).read_text())
    assert marker["kind"] == "shareable"
    assert marker["files"] == {name: [hashlib.sha256(data).hexdigest()] for name, data in files.items()}


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
