"""If one run record cannot be read, the views that need records use the other runs and name the damaged one."""

import json
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import write_run_record
from tests.support.command_line import diagchd_batch
from tests.unit.results.made_lineage import MadeLineage
from tests.unit.results.made_run import MadePlan, run_record

CHAIN = ["run-1", "run-2", "run-3"]
VIEWS = ["runs", "lineages", "current"]


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> MadeLineage:
    """Return an output with a lineage of three runs and one separate run."""
    made = MadeLineage(tmp_path_factory.mktemp("undamaged"))
    for name in "abc":
        made.add_files(f"{name}/1.png", f"{name}/2.png")
        made.run()
    record = run_record(MadePlan([]), run_id="alone")
    write_run_record(made.output.storage, made.output.private, record)
    made.write_predictions("alone", made.predictions("run-1"))
    return made


@pytest.fixture
def made(undamaged: MadeLineage, tmp_path: Path) -> MadeLineage:
    return undamaged.copy_to(tmp_path)


def left_after(damaged: str) -> dict[str, set[str]]:
    """Return the run ids or lineages that each view still has.

    If a run's record is damaged, the run before it is the newest known run of its lineage. Each known run ends a
    lineage, and `current` has those that no run continues.
    """
    known = CHAIN[: CHAIN.index(damaged)] if damaged in CHAIN else CHAIN
    newest = set(known[-1:]) | ({"alone"} - {damaged})
    return {
        "runs": {*CHAIN, "alone"} - {damaged},
        "lineages": {*known, *newest},
        "current": newest,
    }


@pytest.mark.parametrize("content", [b"", b"{", b'{"run_id": "run-1"}'])
@pytest.mark.parametrize("damaged", [*CHAIN, "alone"])
@pytest.mark.parametrize("view", VIEWS)
def test_views_go_on_and_name_the_damaged_run(made: MadeLineage, view: str, damaged: str, content: bytes) -> None:
    made.output.storage.replace(output_layout.run_record(damaged), content)
    column = "run_id" if view == "runs" else "lineage"
    reported: list[tuple[str, DamagedRecordError]] = []
    database = open_query(made.output, {}, on_damaged=lambda *damage: reported.append(damage))
    rows = database.table(f"SELECT DISTINCT {column} AS found FROM {view}")
    assert set(rows["found"].to_pylist()) == left_after(damaged)[view]
    ((run_id, error),) = reported
    assert run_id == damaged and output_layout.run_record(damaged) in str(error)


@pytest.mark.parametrize("view", VIEWS)
def test_the_command_names_it_on_standard_error(made: MadeLineage, view: str) -> None:
    made.output.storage.replace(output_layout.run_record("run-2"), b"{")
    done = diagchd_batch("query", made.output.storage.uri, f"SELECT count(*) AS n FROM {view}", "--format", "json")
    assert done.exit_code == 0, done.messages
    assert json.loads(done.printed)[0]["n"] > 0
    assert "run-2" in done.messages and output_layout.run_record("run-2") in done.messages


def test_other_views_say_nothing_of_it(made: MadeLineage) -> None:
    made.output.storage.replace(output_layout.run_record("run-2"), b"{")
    done = diagchd_batch("query", made.output.storage.uri, "SELECT count(*) AS n FROM predictions", "--format", "json")
    assert (done.exit_code, done.messages) == (0, "")


def test_a_notebook_is_warned(made: MadeLineage) -> None:
    made.output.storage.replace(output_layout.run_record("alone"), b"{")
    with pytest.warns(UserWarning, match="leave out run alone"):
        assert set(made.output.current_predictions()["lineage"].to_pylist()) == {"run-3"}


def test_one_run_does_not_ask_for_the_record_of_another(made: MadeLineage) -> None:
    made.output.storage.replace(output_layout.run_record("alone"), b"{")
    assert set(made.output.current_predictions("run-3")["lineage"].to_pylist()) == {"run-3"}
    with pytest.raises(DamagedRecordError):
        made.output.current_predictions("alone")
