"""Runs that end at a deadline, and runs that build on others: together they are what one undisturbed run is."""

import json
from pathlib import Path

import pytest
from PIL import Image

from diagchd_batch.scoring.ending import request_stop
from diagchd_batch.storage import open_storage
from diagchd_batch.studies.identifiers import Pseudonymizer
from tests.support.patient_pictures import PATIENT, Patience
from tests.support.scoring_runs import ID_KEY, RUN_ID, ScoringRun, verify, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

N_IMAGES = 64


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its later half, in the order in which a plan has them, is pictures that may be made to wait."""
    directory = write_cohort(tmp_path_factory.mktemp("cohort"), N_IMAGES)
    tokens = Pseudonymizer(bytes.fromhex(ID_KEY))
    studies = sorted(directory.iterdir(), key=lambda study: tokens.study(study.name))
    for study in studies[N_IMAGES // 4 :]:
        for path in study.iterdir():
            Image.open(path).resize(PATIENT[::-1]).save(path)
    return directory


@pytest.fixture(scope="module")
def undisturbed(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The score files of a run without a deadline."""
    run = ScoringRun(tmp_path_factory.mktemp("undisturbed"), cohort)
    assert run.finish().exit_code == 0
    return run.score_bytes()


def test_a_deadline_that_has_passed_stops_at_once_and_the_same_command_goes_on(cohort, undisturbed, tmp_path):
    run = ScoringRun(tmp_path, cohort)
    ending = run.finish("--until", "2020-01-01T00:00+01:00")
    assert (ending.exit_code, ending.summary["n_images_left"]) == (0, N_IMAGES), ending.messages
    assert run.committed() == []
    assert verify(str(run.output)) == 1

    ending = run.finish("--until", "7h30m")
    assert (ending.exit_code, ending.summary["ending"]) == (0, None), ending.messages
    assert run.score_bytes() == undisturbed
    assert verify(str(run.output)) == 0


@pytest.mark.parametrize("how", ["deadline", "stop"])
def test_shards_in_hand_are_finished_and_no_other_begins(cohort, undisturbed, tmp_path, how):
    """Shards 0 to 3 are scored; 4 and 5 are in hand when the clock passes the deadline, or the end is asked for."""
    patience = Patience(tmp_path)
    run = ScoringRun(tmp_path / "run", cohort, environment={"PYTHONPATH": str(tmp_path)})
    with run.started("--until", "1h") as driver:
        driver.wait_until(lambda: len(run.committed()) == 4 and len(_begun(run)) == 6)
        if how == "deadline":
            patience.jump()
        else:
            (beat,) = (run.private_run / "heartbeats").glob("driver-*.json")
            request_stop(open_storage(str(run.output / "private")), RUN_ID, beat.stem.removeprefix("driver-"))
        patience.release()
        ending = driver.ending()
    assert (ending.exit_code, ending.summary["ending"], ending.summary["n_images_left"]) == (0, how, 16), (
        ending.messages
    )
    assert _begun(run) == {f"shard-{shard:05d}" for shard in range(6)}
    assert run.score_bytes() == dict(list(undisturbed.items())[:6])
    record = json.loads((run.output / "runs" / f"run_id={RUN_ID}" / "run.json").read_text())
    assert (record["status"], record["exit_code"], record["counts"]) == ("stopped", 0, None)
    assert verify(str(run.output)) == 1  # incomplete, and it says so

    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert run.score_bytes() == undisturbed
    assert verify(str(run.output)) == 0


def _begun(run: ScoringRun) -> set[str]:
    return {path.parent.name for path in run.private_run.glob("attempts/*/*.open.json")}
