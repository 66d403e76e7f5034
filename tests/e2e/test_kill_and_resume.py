"""A run whose processes were killed is finished by the same command, and its score files have the same bytes.

A run is disturbed several times in a row, and each disturbance but the last is resumed by the next one. KILL_ROUNDS in
the environment is the number of rounds of kills at random moments, by default 1.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.patient_pictures import Patience, write_half_patient_cohort
from tests.support.scoring_runs import ID_KEY, TIMEOUT_S, Driver, Ending, ScoringRun, descendants, kill, verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_IMAGES = 64
N_SHARDS = N_IMAGES // 8
N_FAST = N_SHARDS // 2
"""The shards whose images do not wait for their release."""

CANARY = "canary7f3e"
SECRET = "secretcanary91c2secretcanary91c2"
SECRETS = {"AWS_SECRET_ACCESS_KEY": SECRET}
SETTINGS: dict[str, object] = {
    # All runs of this file have one number of threads, so that only the disturbances differ.
    "cluster.threads_per_actor": 1,
    "limits.decode_timeout_s": TIMEOUT_S,  # images that wait for their release must not count as hanging
}
N_WORKER_KILLS = 3
KILL_ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_half_patient_cohort(tmp_path_factory.mktemp("cohort") / CANARY, N_IMAGES)


@pytest.fixture(scope="module")
def undisturbed(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the score files of a run without faults, with the settings that all runs of this file have."""
    run = ScoringRun(tmp_path_factory.mktemp("undisturbed"), cohort, SETTINGS, SECRETS)
    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert ending.summary["counts"]["n_ok"] == N_IMAGES
    return run.score_bytes()


class _DisturbedRun:
    """A run in which images can be made to wait, so that it cannot end before it is disturbed."""

    def __init__(self, directory: Path, cohort: Path, undisturbed: dict[str, bytes]) -> None:
        (directory / "site").mkdir(parents=True)
        self.patience = Patience(directory / "site")
        self._undisturbed = undisturbed
        self.run = ScoringRun(directory / "run", cohort, SETTINGS, SECRETS)
        self._waiting = SECRETS | {"PYTHONPATH": str(directory / "site")}

    def let_images_wait(self) -> None:
        """Let the images of the later half of the shards wait for their release, in all further commands."""
        self.run.environment = self._waiting

    def let_no_image_wait(self) -> None:
        self.run.environment = SECRETS

    def finish(self) -> Ending:
        """Give the same command again without waiting images, and compare with the undisturbed run."""
        assert self.run.score_bytes().items() <= self._undisturbed.items()
        self.let_no_image_wait()
        ending = self.run.finish()
        assert ending.exit_code == 0, ending.messages
        assert ending.summary["counts"]["failures"] == {}
        self.assert_is_whole()
        return ending

    def assert_is_whole(self) -> None:
        assert self.run.score_bytes() == self._undisturbed
        assert verify(str(self.run.output)) == 0


@pytest.fixture
def disturbed(cohort: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> _DisturbedRun:
    return _DisturbedRun(tmp_path, cohort, undisturbed)


def _kill_the_driver(run: ScoringRun, once: Callable[[Driver], object]) -> None:
    with run.started() as driver:
        driver.wait_until(lambda: once(driver))
        driver.kill()


def _kill_all_of_ray(driver: Driver) -> None:
    for pid in descendants(driver.process.pid):
        kill(pid)
    ending = driver.ending()
    assert ending.exit_code == 1, ending.messages
    assert "same command again" in ending.messages


def test_a_driver_killed_at_four_moments_then_the_same_command_again(disturbed: _DisturbedRun) -> None:
    run = disturbed.run
    disturbed.let_images_wait()
    _kill_the_driver(run, lambda driver: (run.private_run / "identity.json").exists())
    _kill_the_driver(run, lambda driver: (run.private_run / "plan.json").exists())
    _kill_the_driver(run, Driver.workers)
    assert len(run.committed()) <= N_FAST
    disturbed.let_no_image_wait()
    _kill_the_driver(run, lambda driver: len(run.committed()) >= N_SHARDS - 1)
    disturbed.finish()


def test_worker_killed_then_driver_killed_then_all_of_ray_and_no_file_of_ray_names_an_input_or_a_secret(
    disturbed: _DisturbedRun,
) -> None:
    """Paths, file names, the key and the environment hold canaries. All that Ray keeps on disk is searched for them."""
    run = disturbed.run
    disturbed.let_images_wait()
    with run.started() as driver:
        driver.wait_until(driver.workers)
        killed = driver.workers()
        for pid in killed:
            kill(pid)  # Ray logs more about a killed worker than about anything else.
        driver.wait_until(lambda: len(run.committed()) >= 2)  # A replacement worker commits them.
        assert driver.workers() - killed
        (session,) = Path("/tmp").glob(f"dcb-{driver.process.pid}-*")
        logs = {path: path.read_bytes() for path in session.glob("ray/session_2*/logs/**/*") if path.is_file()}
        said = driver.messages()
        driver.kill()
    assert 2 <= len(run.committed()) <= N_FAST
    with run.started() as driver:
        driver.wait_until(driver.workers)
        _kill_all_of_ray(driver)
        said += driver.messages()
    said += disturbed.finish().messages

    assert len(logs) > 10
    for word in (CANARY, SECRET, ID_KEY, "image-00"):
        assert [path.name for path, data in logs.items() if word.encode() in data] == []
    public = [path for path in run.output.rglob("*") if path.is_file() and "_private" not in path.parts]
    assert len(public) > 5
    for word in (CANARY, SECRET, ID_KEY, "image-00", "study-00"):
        assert [path.name for path in public if word.encode() in path.read_bytes()] == []
        assert word not in said
    assert not session.exists()


def _kill_workers(driver: Driver, moments: random.Random) -> None:
    """Kill the worker and its replacements at random moments, and wait for the last replacement."""
    killed: set[int] = set()
    for _ in range(N_WORKER_KILLS):
        driver.wait_until(lambda: driver.workers() - killed)
        time.sleep(moments.uniform(0, 1.0))
        killed.update(driver.workers())
        for pid in killed:
            kill(pid)
    driver.wait_until(lambda: driver.workers() - killed)


def test_kills_at_random_moments_then_a_sigterm_then_the_same_command_again(disturbed: _DisturbedRun) -> None:
    run, moments = disturbed.run, random.Random(20)
    disturbed.let_images_wait()
    for number in range(KILL_ROUNDS):
        with run.started() as driver:
            _kill_workers(driver, moments)
            driver.wait_until(lambda: len(run.committed()) >= N_FAST - 1)
            time.sleep(moments.uniform(0, 1.0))
            if number % 2:
                driver.kill()
            else:
                _kill_all_of_ray(driver)

    with run.started() as driver:
        driver.wait_until(driver.workers)
        started = descendants(driver.process.pid)
        driver.process.send_signal(signal.SIGTERM)
        ending = driver.ending()
    assert ending.exit_code == 143, ending.messages
    assert "resumes" in ending.messages
    assert _all_gone(started)
    assert N_FAST - 1 <= len(run.committed()) <= N_FAST
    disturbed.finish()


def _all_gone(pids: list[int]) -> bool:
    deadline_s = time.monotonic() + TIMEOUT_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


def test_two_drivers_at_once_one_of_them_with_two_actors(disturbed: _DisturbedRun) -> None:
    """No image of the later half is decoded before all three actors have begun a shard."""
    run = disturbed.run
    disturbed.let_images_wait()
    two_actors = ("--set", "cluster.actors.max=2", "--set", "cluster.cpus_per_actor=1")
    with run.started(*two_actors) as first, run.started() as second:
        first.wait_until(lambda: len(first.workers()) == 2)
        second.wait_until(second.workers)
        assert len(run.committed()) <= N_FAST
        disturbed.patience.release()
        endings = [first.ending(), second.ending()]
    assert [ending.exit_code for ending in endings] == [0, 0], [ending.messages for ending in endings]
    assert len(list((run.output / "_private" / "runs").iterdir())) == 1
    disturbed.assert_is_whole()
