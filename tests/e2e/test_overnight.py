"""Runs that stop at a deadline, and runs that build on others, together give the results of one undisturbed run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diagchd_batch.cli.main import app
from diagchd_batch.results import open_output
from diagchd_batch.results.metrics_tables import read_metrics
from tests.support.command_line import diagchd_batch
from tests.support.patient_pictures import Patience, write_half_patient_cohort
from tests.support.scoring_runs import ID_KEY, RUN_ID, Ending, ScoringRun, verify, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_SHARDS = 10
N_IMAGES = 8 * N_SHARDS
N_FAST = N_SHARDS // 2
"""The shards whose images do not wait for their release."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_half_patient_cohort(tmp_path_factory.mktemp("cohort"), N_IMAGES)


@pytest.fixture(scope="module")
def undisturbed(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the score files of a run without a deadline."""
    run = ScoringRun(tmp_path_factory.mktemp("undisturbed"), cohort)
    assert run.finish().exit_code == 0
    return run.score_bytes()


def test_a_run_is_stopped_by_a_passed_deadline_a_request_and_a_deadline_and_goes_on_to_the_same_bytes(
    cohort: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Shards in progress are finished, and no other begins."""
    run = ScoringRun(tmp_path / "run", cohort)
    ending = run.finish("--until", "2020-01-01T00:00+01:00")
    assert (ending.exit_code, ending.summary["n_images_left"]) == (0, N_IMAGES), ending.messages
    assert f"stopped at the deadline, {N_IMAGES} images left" in ending.messages
    assert run.committed() == []
    assert verify(str(run.output)) == 1

    _stop_with_two_shards_in_progress(run, undisturbed, "stop", N_FAST)
    _stop_with_two_shards_in_progress(run, undisturbed, "deadline", N_FAST + 2)

    run.environment = {}
    ending = run.finish("--until", "7h30m")
    assert (ending.exit_code, ending.summary["ending"]) == (0, None), ending.messages
    assert run.score_bytes() == undisturbed
    assert verify(str(run.output)) == 0


def _stop_with_two_shards_in_progress(
    run: ScoringRun, undisturbed: dict[str, bytes], how: str, n_committed: int
) -> None:
    site = run.directory.parent / how
    site.mkdir()
    patience = Patience(site)
    run.environment = {"PYTHONPATH": str(site)}
    n_begun = n_committed + 2
    with run.started("--until", "1h") as driver:
        driver.wait_until(lambda: len(run.committed()) == n_committed and len(_begun(run)) == n_begun)
        if how == "deadline":
            patience.jump()
        else:
            asked = diagchd_batch("stop", str(run.output))
            assert f"run {RUN_ID} was asked to end" in asked.printed + asked.messages
        patience.release()
        ending = driver.ending()
    n_left = N_IMAGES - 8 * n_begun
    assert (ending.exit_code, ending.summary["ending"], ending.summary["n_images_left"]) == (0, how, n_left), (
        ending.messages
    )
    assert _begun(run) == {f"shard-{shard:05d}" for shard in range(n_begun)}
    assert run.score_bytes() == dict(list(undisturbed.items())[:n_begun])
    record = json.loads((run.output / "runs" / f"run_id={RUN_ID}" / "run.json").read_text())
    assert (record["status"], record["exit_code"], record["counts"]) == ("stopped", 0, None)
    assert verify(str(run.output)) == 1  # The run is reported as incomplete.


def _begun(run: ScoringRun) -> set[str]:
    return {path.parent.name for path in run.private_run.glob("attempts/*/*.open.json")}


def _submit(run: ScoringRun, *options: str) -> Ending:
    ending = run.finish(*options)
    assert ending.exit_code in (0, 3), ending.messages
    return ending


def _plan(run: ScoringRun, *options: str) -> dict[str, Any]:
    arguments = ["plan", str(run.directory / "job.yaml"), "--no-measure", "--json", *options]
    done = CliRunner().invoke(app, arguments, env={"DIAGCHD_ID_KEY": ID_KEY})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _current(output: Path) -> dict[tuple[str, int | None], tuple[Any, ...]]:
    """Return (image, frame) → study, status, error code and probability in the lineage of the newest run."""
    rows = open_output(str(output)).current_predictions().to_pylist()
    found = {
        (row["image_id"], row["frame"]): (row["study_id"], row["status"], row["error_code"], row["chd_probability"])
        for row in rows
    }
    assert len(found) == len(rows)
    return found


def _tables(output: Path, run_id: str) -> dict[str, list[Any]]:
    """Return those metrics tables that do not depend on how many runs computed the scores."""
    storage = open_output(str(output)).storage
    names = ("estimates", "study_results", "flow", "cohort_characteristics", "calibration", "curves")
    found = {name: read_metrics(storage, run_id, name) for name in names}
    return {name: table.to_pylist() for name, table in found.items() if table is not None}


def test_nights_and_retries_come_to_what_one_run_of_the_final_archive_is(tmp_path: Path) -> None:
    archive = write_cohort(tmp_path / "archive", 16)
    (archive / "study-0000" / "broken.png").write_bytes(b"not a picture")
    run = ScoringRun(tmp_path / "run", archive, run_id=None)

    first = _submit(run, "--select", "new")  # The first night scores everything.
    assert _plan(run, "--select", "new")["n_images"] == 0
    assert (first.exit_code, first.summary["counts"]["n_images"]) == (3, 17)
    nothing = _submit(run, "--select", "new")
    assert (nothing.exit_code, nothing.summary["nothing_selected"]) == (0, True), nothing.messages
    assert nothing.summary["run_id"] == first.summary["run_id"]

    write_cohort(tmp_path / "more", 24, seed=1)
    for study in sorted((tmp_path / "more").iterdir())[8:]:
        study.rename(archive / study.name)  # This adds four studies.
    # One file changes.
    shutil.copy(archive / "study-0001" / "image-0002.png", archive / "study-0002" / "image-0004.png")
    planned = _plan(run, "--select", "new")
    assert (planned["n_images"], planned["n_studies"], planned["builds_on"]) == (9, 5, first.summary["run_id"])
    second = _submit(run, "--select", "new")
    assert (second.exit_code, second.summary["counts"]["n_images"]) == (0, 9), second.messages

    shutil.copy(archive / "study-0001" / "image-0002.png", archive / "study-0000" / "broken.png")
    whole = ScoringRun(tmp_path / "whole", archive, run_id=None)
    with whole.started() as at_once:
        third = _submit(run, "--select", "failed")
        assert (third.exit_code, third.summary["counts"]["n_images"]) == (0, 1), third.messages
        assert _submit(run, "--select", "failed").summary["nothing_selected"]
        assert _submit(run, "--select", "new").summary["nothing_selected"]
        of_all = at_once.ending()
    assert of_all.exit_code == 0, of_all.messages

    ids = [ending.summary["run_id"] for ending in (first, second, third)]
    records = {record.run_id: record for record in open_output(str(run.output)).runs()}
    assert [records[name].parent_run_id for name in ids] == [None, *ids[:2]]
    assert [records[name].selection for name in ids] == ["all", "new", "failed"]
    assert verify(str(run.output)) == 0

    assert _current(run.output) == _current(whole.output)
    assert len(_current(run.output)) == 25
    (whole_id,) = open_output(str(whole.output)).run_ids()
    tables = _tables(whole.output, whole_id)
    assert len(tables["study_results"]) == 12
    assert _tables(run.output, ids[2]) == tables
