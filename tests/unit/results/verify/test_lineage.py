"""Runs that build on each other are complete together, and verification finds every fault in that."""

from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.results.verify.lineage import verify_lineage
from diagchd_batch.scoring.driver.lineage_selection import failed_in
from tests.unit.results.made_lineage import MadeLineage


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> MadeLineage:
    """Return a lineage of three runs.

    The first run has two good files and a broken one. The second has two new files and a changed one. The third has the
    repaired file.
    """
    made = MadeLineage(tmp_path_factory.mktemp("undamaged"))
    made.add_files("a/1.png", "a/2.png", "b/1.png")
    made.run(broken=("b/1.png",))
    made.add_files("c/1.png", "c/2.png")
    made.add_files("a/1.png", content=" changed")
    made.run()
    made.add_files("b/1.png", content=" mended")
    results = [made.output.predictions(plan.run_id) for plan in made.plans]
    made.run(select=failed_in(results, made.plans))
    return made


@pytest.fixture
def lineage(undamaged: MadeLineage, tmp_path: Path) -> MadeLineage:
    return undamaged.copy_to(tmp_path)


def _kinds(made: MadeLineage) -> list[ProblemKind]:
    return [problem.kind for problem in verify_lineage(made.output, made.newest).problems]


def test_a_lineage_is_complete_for_the_union_of_its_plans(lineage: MadeLineage) -> None:
    report = verify_lineage(lineage.output, lineage.newest)
    assert report.ok, report.problems
    assert report.run_ids == ("run-1", "run-2", "run-3")
    assert (report.n_images, report.n_rows) == (5, 5)


def test_an_image_without_any_row_is_found(lineage: MadeLineage) -> None:
    rows = lineage.predictions("run-2")
    image_id = lineage.tokens.image("c/1.png")
    lineage.write_predictions("run-2", [row for row in rows if row["image_id"] != image_id])
    (problem,) = verify_lineage(lineage.output, lineage.newest).problems
    assert problem.kind is ProblemKind.MISSING_IMAGE
    assert image_id in problem.place


def test_a_row_that_no_run_planned_is_found(lineage: MadeLineage) -> None:
    rows = lineage.predictions("run-1")
    lineage.write_predictions("run-1", [*rows, rows[0] | {"image_id": "i-0000000000000000"}])
    assert _kinds(lineage) == [ProblemKind.UNPLANNED_ROW]


def test_a_file_that_failed_as_a_whole_in_two_runs_counts_once(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    made.add_files("a/1.png")
    made.run(broken=("a/1.png",))
    made.run(broken=("a/1.png",), select=failed_in([made.output.predictions("run-1")], made.plans))
    report = verify_lineage(made.output, made.newest)
    assert (report.ok, report.n_rows) == (True, 1)


@pytest.mark.parametrize(
    ("lost", "kind"),
    [
        (output_layout.success_marker("run-1"), ProblemKind.UNFINISHED),
        (output_layout.run_record("run-2"), ProblemKind.BROKEN_LINEAGE),
    ],
)
def test_a_parent_that_is_not_whole_is_named(lineage: MadeLineage, lost: str, kind: ProblemKind) -> None:
    lineage.output.storage.delete(lost)
    (problem,) = verify_lineage(lineage.output, lineage.newest).problems
    assert problem.kind is kind
    assert lost.split("=")[1].split("/")[0] in f"{problem.place} {problem.detail}"


def test_a_parent_that_scores_otherwise_is_found(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    made.add_files("a/1.png")
    made.run(fingerprint="1" * 64)
    made.add_files("b/1.png")
    made.run()
    assert _kinds(made) == [ProblemKind.BROKEN_LINEAGE]
