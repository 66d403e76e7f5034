"""Storage that fails during a run: the run ends with exit code 1 and the reason, and the same command resumes it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.storage import Store, open_store
from tests.support.scoring_runs import ScoringRun, verify, write_cohort
from tests.support.servers_and_hosts.fault_proxy import Fault, FaultProxy
from tests.support.servers_and_hosts.radosgw import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_IMAGES = 48


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a separate file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path) -> None:
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", N_IMAGES), output_directory=small_disk / "out")
    filler = small_disk / "filler"
    with run.started() as driver:
        driver.wait_until(run.committed)
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        ending = driver.ending()
    assert ending.exit_code == 1, ending.messages
    assert "No space left" in ending.messages
    committed = run.score_bytes()
    assert 0 < len(committed) < N_IMAGES // 8
    filler.unlink()
    ending = run.finish()
    assert ending.exit_code == 0, ending.messages
    assert committed.items() <= run.score_bytes().items()
    assert verify(str(run.output)) == 0


@pytest.fixture
def bucket(s3_uri: str) -> Store:
    """Return the store of a bucket, which does not use the proxy."""
    storage = open_store(s3_uri)
    storage.probe()
    return storage


@pytest.fixture
def proxy(bucket: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def s3_run(bucket: Store, proxy: FaultProxy, tmp_path: Path) -> ScoringRun:
    """Return a run from S3 to S3 through the proxy, with short time limits."""
    directory = write_cohort(tmp_path / "cohort", N_IMAGES)
    for path in directory.rglob("*.png"):
        bucket.create(f"archive/{path.relative_to(directory)}", path)
    return ScoringRun(
        tmp_path / "run",
        f"{bucket.uri}/archive",
        {"limits.object_timeout_s": 10, "limits.decode_timeout_s": 20, "limits.stall_timeout_s": 60},
        output_uri=f"{bucket.uri}/out",
    )


def _committed(bucket: Store) -> dict[str, bytes]:
    return {info.key: bucket.read(info.key) for info in bucket.list("out/scores")}


@pytest.mark.s3
def test_two_drivers_at_once_an_endpoint_that_goes_away_trouble_that_passes_and_one_refused_object(
    s3_run: ScoringRun, bucket: Store, proxy: FaultProxy
) -> None:
    """Two drivers share one key, one plan and one run, lose the endpoint, and are started again.

    No frame is scored twice. Statuses 500 and 503 and truncated bodies are retried. A 403 for one object gives one row
    `access_denied`.
    """
    s3_run.run_id = None
    s3_run.environment["DIAGCHD_ID_KEY"] = ""
    proxy.add(Fault(status=403, code="AccessDenied", key_contains="/archive/study-0003/image-0007"))
    timeout_s = s3_run.overrides["limits.object_timeout_s"]
    s3_run.overrides["limits.object_timeout_s"] = 3  # the run ends after ten times this limit
    with s3_run.started() as first, s3_run.started() as second:
        first.wait_until(lambda: any("PUT" in method and "/scores/" in path for method, path in proxy.requests))
        proxy.refuse_connections()
        endings = [first.ending(), second.ending()]
    for ending in endings:
        assert ending.exit_code == 1, ending.messages
        assert "Traceback" not in ending.messages
    committed = _committed(bucket)
    assert len(committed) < N_IMAGES // 8

    proxy.accept_connections()
    s3_run.overrides["limits.object_timeout_s"] = timeout_s
    proxy.add(Fault(status=503, code="SlowDown", probability=0.1, times=40))
    proxy.add(Fault(status=500, probability=0.1, times=20))
    # Requests for objects have a slash before the archive's name; requests that list the archive do not. Ten truncated
    # listings in a row would exceed the time limit of this run.
    proxy.add(Fault(cut_after=100, method="GET", key_contains="/archive/", times=10))
    with s3_run.started() as first, s3_run.started() as second:
        endings = [first.ending(), second.ending()]
    assert [ending.exit_code for ending in endings] == [3, 3], [ending.messages for ending in endings]
    assert len({ending.summary["run_id"] for ending in endings}) == 1
    for ending in endings:
        assert ending.summary["counts"]["failures"] == {"access_denied": 1}
        assert ending.summary["counts"]["n_ok"] == N_IMAGES - 1
    assert committed.items() <= _committed(bucket).items()
    assert len(_committed(bucket)) == N_IMAGES // 8
    assert verify(s3_run.output_uri) == 0


@pytest.mark.s3
def test_credentials_that_are_refused(s3_run: ScoringRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    ending = s3_run.finish()
    assert ending.exit_code == 1
    assert "not-the-secret" not in ending.messages
    assert "Traceback" not in ending.messages
