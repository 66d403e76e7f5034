"""Runs over a real PACS: equal to those over the same files, whatever the PACS does meanwhile."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dicom_archives import CANARY_UID, Loops, write_loops
from tests.support.scoring_runs import ScoringRun, descendants, verify
from tests.support.servers_and_hosts.fault_proxy import Fault, FaultProxy
from tests.support.servers_and_hosts.orthanc import Orthanc

pytestmark = pytest.mark.slow

N_STUDIES = 20


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Loops:
    return write_loops(tmp_path_factory.mktemp("archive"), N_STUDIES)


@pytest.fixture(scope="module")
def rows_of_files(studies: Loops, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the rows of a run over the files on disk."""
    run = run_over(str(studies.directory), tmp_path_factory.mktemp("files"))
    assert run.finish().exit_code == 0
    return run.rows()


@pytest.fixture
def filled(pacs: Orthanc, studies: Loops) -> Orthanc:
    pacs.store(studies.paths)
    return pacs


@pytest.fixture
def proxy(filled: Orthanc) -> Iterator[FaultProxy]:
    with FaultProxy(filled.url.removesuffix("/dicom-web")) as running:
        yield running


def run_over(uri: str, directory: Path, **overrides: object) -> ScoringRun:
    settings = {"input.layout": "dicom", "cluster.cpus_per_actor": 1, "input.dicomweb.max_requests_per_second": 200}
    return ScoringRun(directory / "run", uri, settings | overrides)


def reads(proxy: FaultProxy) -> int:
    """Return the number of requests for instances. Those that list a study have no series in their path."""
    return sum("/series/" in path for _, path in proxy.requests)


def check(run: ScoringRun, expected: list[dict[str, Any]]) -> None:
    """Check that the run has the expected rows, every frame once, and names no patient where others may read."""
    assert run.rows() == expected
    assert verify(str(run.output)) == 0
    for path in run.output.rglob("*"):
        if path.is_file() and "_private" not in path.parts:
            assert b"CANARY" not in path.read_bytes()
            assert CANARY_UID.encode() not in path.read_bytes()


def test_a_pacs_gives_the_results_of_its_files_within_the_limit_although_the_actor_of_permits_is_killed(
    proxy: FaultProxy, studies: Loops, rows_of_files: list[dict[str, Any]], tmp_path: Path
) -> None:
    limits = {"input.dicomweb.max_requests_per_second": 5, "cluster.actors.min": 2}
    run = run_over(f"dicomweb+{proxy.url}/dicom-web", tmp_path, **limits)
    with run.started() as driver:
        driver.wait_until(lambda: reads(proxy))
        began_s, n_before = time.monotonic(), len(proxy.requests)
        driver.wait_until(run.committed)
        titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(driver.process.pid)}
        (permits,) = [pid for pid, title in titles.items() if b"PermitActor" in title]
        os.kill(permits, signal.SIGKILL)  # Ray starts the actor again, and it waits for those who hold permits
        ending = driver.ending()
    assert ending.exit_code == 0, ending.messages
    assert len(proxy.requests) - n_before <= 5 * (time.monotonic() - began_s) + 2
    assert len(rows_of_files) == 4 * N_STUDIES
    check(run, rows_of_files)


def test_a_run_whose_credentials_are_withdrawn_resumes_with_a_pacs_that_fails_slows_down_and_cuts_bodies(
    proxy: FaultProxy, studies: Loops, rows_of_files: list[dict[str, Any]], tmp_path: Path
) -> None:
    withdrawn = proxy.add(Fault(status=401, key_contains="/series/", skip=20))
    run = run_over(f"dicomweb+{proxy.url}/dicom-web", tmp_path)
    ending = run.finish()
    assert ending.exit_code == 1
    assert "refuses the credentials" in ending.messages
    assert os.environ["DIAGCHD_DICOMWEB_PASSWORD"] not in ending.messages
    proxy.remove(withdrawn)
    for status in (500, 503, 429):
        proxy.add(Fault(status=status, key_contains="/series/", skip=3, times=4))
    cut = proxy.add(Fault(cut_after=900, key_contains="/series/", probability=0.1))
    dropped = proxy.add(Fault(drop_request=True, key_contains="/series/", probability=0.1))
    proxy.add(Fault(delay_s=0.2, key_contains="/series/", probability=0.2))
    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert cut.hits and dropped.hits
    check(run, rows_of_files)


def test_a_study_deleted_between_plan_and_read_is_not_found_and_a_killed_pacs_does_not_end_the_run(
    filled: Orthanc, proxy: FaultProxy, studies: Loops, rows_of_files: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = run_over(f"dicomweb+{proxy.url}/dicom-web", tmp_path, **{"input.dicomweb.max_requests_per_second": 10})
    with run.started() as driver:
        with proxy.held(key_contains="/series/", skip=1):  # the check before the run reads one
            driver.wait_until(lambda: reads(proxy) > 1)
            filled.delete_study(studies.study_uids[3])
        driver.wait_until(run.committed)
        filled.kill()
        time.sleep(2)
        filled.start()
        ending = driver.ending()
    assert ending.exit_code == 3, ending.messages
    failed = [row for row in run.rows() if row["status"] == "failed"]
    assert [row["error_code"] for row in failed] == ["not_found"] * 2
    read = [row for row in run.rows() if row["status"] == "ok"]
    assert read == [row for row in rows_of_files if row["study_id"] != failed[0]["study_id"]]
    assert verify(str(run.output)) == 0


def test_a_wrong_password_is_refused_before_a_worker_starts(filled: Orthanc, tmp_path: Path) -> None:
    run = run_over(filled.uri, tmp_path)
    run.environment["DIAGCHD_DICOMWEB_PASSWORD"] = "not-the-password"
    ending = run.finish()
    assert ending.exit_code == 1
    assert "refuses the credentials" in ending.messages and "[HTTP 401]" in ending.messages
    assert "not-the-password" not in ending.messages
    assert not run.committed() and not list(run.directory.glob("out/**/*.open.json")), "a worker began"
