"""A run whose processes were killed is finished by the same command, and its score files have the same bytes."""

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.support.at_once import running_at_once
from tests.support.scoring_runs import ScoringRun, descendants, kill, verify, write_cohort

pytestmark = pytest.mark.timeout(900)

N_IMAGES = 64
N_SHARDS = N_IMAGES // 8
THREADS: dict[str, object] = {"cluster.threads_per_actor": 1}
"""All runs of this file have one number of threads, so that only the disturbances differ."""


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), N_IMAGES)


@pytest.fixture(scope="session")
def undisturbed(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the score files of a run without faults, with the threads that all runs of this file have."""
    run = ScoringRun(tmp_path_factory.mktemp("undisturbed"), cohort, THREADS)
    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert ending.summary["counts"]["n_ok"] == N_IMAGES
    return run.score_bytes()


def _assert_finishes_as(run: ScoringRun, undisturbed: dict[str, bytes]) -> None:
    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert ending.summary["counts"]["failures"] == {}
    assert run.score_bytes() == undisturbed
    assert verify(str(run.output)) == 0


def _all_gone(pids: list[int], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_worker_killed_then_driver_killed_then_the_same_command_again(
    cohort: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run = ScoringRun(tmp_path, cohort, THREADS)
    with run.started() as driver:
        driver.wait_until(driver.workers)
        killed = driver.workers()
        for pid in killed:
            kill(pid)
        driver.wait_until(lambda: len(run.committed()) >= 2)  # A replacement worker commits them.
        assert driver.workers() - killed
        driver.kill()
    assert 2 <= len(run.committed()) < len(undisturbed)
    assert all(undisturbed[name] == data for name, data in run.score_bytes().items())
    _assert_finishes_as(run, undisturbed)


@pytest.mark.slow
def test_two_actors_give_the_same_bytes(cohort: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run = ScoringRun(tmp_path, cohort, THREADS | {"cluster.actors.max": 2, "cluster.cpus_per_actor": 1})
    _assert_finishes_as(run, undisturbed)


@pytest.mark.slow
def test_two_actors_give_the_same_bytes_with_the_full_network_if_their_threads_are_fixed(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", 4)
    settings = {"model.name": "diagchd", "model.batch_size": 1, "shards.images_per_shard": 2}
    settings |= {"cluster.threads_per_actor": 1}
    one = ScoringRun(tmp_path / "one", cohort, settings | {"cluster.actors.max": 1})
    two = ScoringRun(tmp_path / "two", cohort, settings | {"cluster.actors.max": 2, "cluster.cpus_per_actor": 1})
    with one.started() as first, two.started() as second:
        endings = [first.ending(), second.ending()]
    assert [ending.exit_code for ending in endings] == [0, 0], [ending.messages for ending in endings]
    assert len(one.score_bytes()) == 2
    assert one.score_bytes() == two.score_bytes()


@pytest.mark.slow
def test_rays_own_files_and_the_terminal_name_no_input_and_no_secret(tmp_path: Path) -> None:
    """Put canaries into paths, file names, the key and the environment, and search all that Ray keeps on disk."""
    canary = "canary7f3e"
    secret = "secretcanary91c2secretcanary91c2"
    cohort = write_cohort(tmp_path / canary, 24)
    run = ScoringRun(tmp_path / "run", cohort, environment={"DIAGCHD_ID_KEY": secret, "AWS_SECRET_ACCESS_KEY": secret})
    with run.started() as driver:
        driver.wait_until(driver.workers)
        for pid in driver.workers():
            kill(pid)  # Ray logs more about a killed worker than about anything else.
        driver.wait_until(run.committed)
        (session,) = Path("/tmp").glob(f"dcb-{driver.process.pid}-*")
        logs = {path: path.read_bytes() for path in session.glob("ray/session_2*/logs/**/*") if path.is_file()}
        ending = driver.ending()
    assert ending.exit_code == 0, ending.messages
    assert len(logs) > 10
    for word in (canary, secret, "image-00"):
        assert [path.name for path, data in logs.items() if word.encode() in data] == []
    public = [path for path in run.output.rglob("*") if path.is_file() and "_private" not in path.parts]
    assert len(public) > 5
    for word in (canary, secret, "image-00", "study-00"):
        assert [path.name for path in public if word.encode() in path.read_bytes()] == []
        assert word not in ending.messages
    assert not session.exists()


def _kill_the_driver(run: ScoringRun, once: Callable[[], object]) -> None:
    with run.started() as driver:
        driver.wait_until(once)
        driver.kill()


def _kill_all_of_ray(run: ScoringRun, n_committed: int) -> None:
    with run.started() as driver:
        driver.wait_until(lambda: driver.workers() and len(run.committed()) >= n_committed)
        for pid in descendants(driver.process.pid):
            kill(pid)
        ending = driver.ending(timeout_s=120)
    assert ending.exit_code == 1
    assert "same command again" in ending.messages


def _terminate(run: ScoringRun) -> None:
    with run.started() as driver:
        driver.wait_until(run.committed)
        started = descendants(driver.process.pid)
        driver.process.send_signal(signal.SIGTERM)
        ending = driver.ending()
        assert ending.exit_code == 143, ending.messages
        assert "resumes" in ending.messages
        assert _all_gone(started, within_s=120)


def _kill_ten_times(run: ScoringRun) -> None:
    """Kill workers, drivers or all processes at random moments."""
    moments = random.Random(20)
    kills = 0
    while kills < 10:
        with run.started() as driver:
            for victim in ("worker", "worker", "worker", moments.choice(["driver", "all"])):
                driver.wait_until(driver.workers)
                time.sleep(moments.uniform(0, 1.0))
                if driver.process.poll() is not None:
                    break
                pids = {
                    "worker": list(driver.workers()),
                    "driver": [driver.process.pid],
                    "all": descendants(driver.process.pid),
                }[victim]
                for pid in pids:
                    kill(pid)
                kills += bool(pids)
        if len(run.committed()) == N_SHARDS:
            break
    assert kills >= 10 or len(run.committed()) == N_SHARDS


DISTURBANCES: Mapping[str, Callable[[ScoringRun], None]] = {
    "ten kills": _kill_ten_times,  # It takes longest, so it is first.
    "driver before the plan": lambda run: _kill_the_driver(run, (run.private_run / "identity.json").exists),
    "driver before a worker": lambda run: _kill_the_driver(run, (run.private_run / "plan.json").exists),
    "driver at the first shard": lambda run: _kill_the_driver(
        run, lambda: list(run.private_run.glob("attempts/*/*.open.json"))
    ),
    "driver at the last shard": lambda run: _kill_the_driver(run, lambda: len(run.committed()) >= N_SHARDS - 1),
    "all of Ray at the first shard": lambda run: _kill_all_of_ray(run, 0),
    "all of Ray after three shards": lambda run: _kill_all_of_ray(run, 3),
    "SIGTERM": _terminate,
}


@pytest.fixture(scope="module")
def disturbed(
    cohort: Path,
    undisturbed: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, Future[None]]]:
    directory = tmp_path_factory.mktemp("disturbed")

    def disturb_and_resume(name: str) -> None:
        run = ScoringRun(directory / name.replace(" ", "-"), cohort, THREADS)
        DISTURBANCES[name](run)
        _assert_finishes_as(run, undisturbed)

    with running_at_once(disturb_and_resume, DISTURBANCES, request) as futures:
        yield futures


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", DISTURBANCES)
def test_a_disturbed_run_goes_on_to_the_same_bytes(disturbed: dict[str, Future[None]], how: str) -> None:
    disturbed[how].result()


@pytest.mark.slow
def test_two_drivers_at_once(cohort: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run = ScoringRun(tmp_path, cohort, THREADS)
    with run.started() as first, run.started() as second:
        endings = [first.ending(), second.ending()]
    assert [ending.exit_code for ending in endings] == [0, 0], [ending.messages for ending in endings]
    assert run.score_bytes() == undisturbed
    assert verify(str(run.output)) == 0
    assert len(list((run.output / "_private" / "runs").iterdir())) == 1
