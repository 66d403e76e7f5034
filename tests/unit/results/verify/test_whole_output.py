"""Verifying a whole output reports a run that is damaged, or of which only the plan is left, and all other runs."""

import json
from pathlib import Path
from shutil import rmtree

import pytest

from diagchd_batch import output_layout
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.results.verify.whole_output import verify_lineages, verify_runs
from tests.support.command_line import Ended, diagchd_batch
from tests.unit.results.made_lineage import MadeLineage


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> MadeLineage:
    """Return two runs, the second of which builds on the first.

    Neither has score files, so verify reports missing shards for both.
    """
    made = MadeLineage(tmp_path_factory.mktemp("undamaged"))
    made.add_files("a/1.png", "a/2.png")
    made.run()
    made.add_files("b/1.png")
    made.run()
    return made


@pytest.fixture
def made(undamaged: MadeLineage, tmp_path: Path) -> MadeLineage:
    return undamaged.copy_to(tmp_path)


def _kinds(made: MadeLineage) -> dict[str, set[ProblemKind]]:
    return {report.run_id: {problem.kind for problem in report.problems} for report in verify_runs(made.output)}


def _verify(made: MadeLineage, *options: str) -> Ended:
    return diagchd_batch("verify", made.output.storage.uri, "--private-uri", made.output.private.uri, *options)


@pytest.mark.parametrize("content", [b"", b'{"run_id": "run-1", "sta', b"[]", b'{"run_id": "run-1"}', b"\xff\x00"])
@pytest.mark.parametrize("damaged", ["run-1", "run-2"])
def test_a_damaged_run_record_is_one_line_and_the_other_run_is_verified(
    made: MadeLineage, damaged: str, content: bytes
) -> None:
    key = output_layout.run_record(damaged)
    made.output.storage.replace(key, content)
    found = _kinds(made)
    assert found.pop(damaged) == {ProblemKind.DAMAGED_RUN_RECORD}
    assert [ProblemKind.MISSING_SHARD in kinds for kinds in found.values()] == [True]
    done = _verify(made)
    assert done.exit_code == 1
    (line,) = (line for line in done.printed.splitlines() if line.startswith(f"run {damaged}: damaged_run_record"))
    assert key in line and "resume the run to write it again" in line
    assert {report["run_id"] for report in json.loads(_verify(made, "--json").printed) if "run_id" in report} == {
        "run-1",
        "run-2",
    }


def test_a_lineage_is_verified_beside_a_damaged_run_of_another(made: MadeLineage) -> None:
    made.output.storage.replace(output_layout.run_record("another"), b"{")
    (report,) = verify_lineages(made.output)
    assert report.ok and report.run_ids == ("run-1", "run-2")


def test_a_lineage_with_a_damaged_parent_is_broken(made: MadeLineage) -> None:
    made.output.storage.replace(output_layout.run_record("run-1"), b"{")
    (report,) = verify_lineages(made.output)
    assert [problem.kind for problem in report.problems] == [ProblemKind.BROKEN_LINEAGE]
    assert output_layout.run_record("run-1") in report.problems[0].detail


def test_a_run_of_which_only_the_plan_is_left_is_found(made: MadeLineage) -> None:
    for key in [info.key for info in made.output.storage.list() if "run_id=run-2/" in info.key]:
        made.output.storage.delete(key)
    assert _kinds(made)["run-2"] == {ProblemKind.NO_RUN_RECORD}
    done = _verify(made)
    assert done.exit_code == 1
    assert "run run-2: no_run_record" in done.printed and "1 planned image" in done.printed


def test_also_where_nothing_public_is_left_at_all(made: MadeLineage) -> None:
    rmtree(made.output.storage.uri)
    assert _kinds(made) == {"run-1": {ProblemKind.NO_RUN_RECORD}, "run-2": {ProblemKind.NO_RUN_RECORD}}
    assert _verify(made).exit_code == 1


def test_a_run_whose_plan_is_gone_does_not_hide_the_other(made: MadeLineage) -> None:
    made.output.private.delete(output_layout.plan_head("run-1"))
    found = _kinds(made)
    assert found["run-1"] == {ProblemKind.UNREADABLE_PLAN}
    assert ProblemKind.MISSING_SHARD in found["run-2"]
    assert _verify(made).exit_code == 1
