"""A run in hostile surroundings gives the bytes of a clean run, or is refused before a worker starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.checkers.planted_modules import IMPORTED, plant_modules
from tests.support.scoring_runs import ID_KEY, PROJECT, TIMEOUT_S, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OTHER_PROJECT = {"floatx": "float16", "epsilon": 1e-2, "backend": "theano", "image_data_format": "channels_first"}
NUMBERS = {
    "KERAS_BACKEND": "jax",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
}
PROXIES = {
    name: "http://127.0.0.1:9"  # nothing listens there
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
} | {"NO_PROXY": "nonsense, , *.x", "no_proxy": "nonsense, , *.x"}
NAMED_BY_TESTS = ("HOME", "KERAS_HOME", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", *NUMBERS)


def narrow() -> tuple[list[str], str]:
    """Return a command and the lines of a shell that leave a process 64 open files and 16 MB of /dev/shm."""
    mount = "mount -t tmpfs -o size=16m tmpfs /dev/shm"
    unshare = ["unshare", "--mount"]
    may_mount = os.geteuid() == 0 and subprocess.run([*unshare, "sh", "-c", mount], capture_output=True).returncode == 0
    return (unshare, f"{mount} && ulimit -n 64 && ") if may_mount else ([], "ulimit -n 64 && ")


def submit(
    directory: Path, archive: Path, umask: str = "077", limits: tuple[list[str], str] = ([], ""), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Give the command in `directory`, as somebody would who is there with this environment."""
    job = {
        "version": 1,
        "input": {"uri": str(archive), "layout": "tree"},
        "model": {"name": "diagchd-compact", "weights": "bundled", "batch_size": 4},
        "output": {"uri": str(directory / "out")},
    }
    (directory / "job.yaml").write_text(yaml.safe_dump(job))
    inherited = {name: value for name, value in os.environ.items() if name not in NAMED_BY_TESTS}
    return subprocess.run(
        [
            *limits[0],
            "sh",
            "-c",
            f'{limits[1]}umask {umask} && exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "diagchd_batch",
            "submit",
            "job.yaml",
            "--run-id",
            "r",
        ],
        cwd=directory,
        env={**inherited, "DIAGCHD_ID_KEY": ID_KEY, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def scores(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "out" / "scores" / "run_id=r").iterdir()}


def test_hostile_surroundings_change_no_byte_or_are_refused_by_name(tmp_path: Path) -> None:
    clean, hostile = tmp_path / "clean", tmp_path / "hostile"
    archive = write_cohort(tmp_path / "archive", 6)
    home, long_tmpdir = tmp_path / "home", tmp_path / ("a-temporary-directory-with-a-long-name-" * 3)
    for directory in (clean, hostile, home, long_tmpdir):
        directory.mkdir()
    done = submit(clean, archive, HOME=str(home))
    assert done.returncode == 0, done.stderr

    (home / "keras.json").write_text(json.dumps(OTHER_PROJECT))
    plant_modules(hostile)
    for refused, value in (("RAY_ADDRESS", "127.0.0.1:1"), ("PYTHONPATH", f"{hostile}{os.pathsep}{PROJECT}")):
        done = submit(hostile, archive, "077", ([], ""), **{refused: value})
        assert done.returncode == 2, done.stderr
        assert refused in done.stderr
        assert "Traceback" not in done.stderr
        assert not (hostile / "out" / "scores").exists()

    done = submit(
        hostile,
        archive,
        umask="000",
        limits=narrow(),
        KERAS_HOME=str(home),  # and HOME is not set
        TMPDIR=str(long_tmpdir),
        LANG="C",
        LC_ALL="C",
        PYTHONPATH=f"{PROJECT}{os.pathsep}",  # the empty entry means the working directory
        **NUMBERS,
        **PROXIES,
    )
    assert done.returncode == 0, done.stderr
    assert not (hostile / IMPORTED).exists()
    assert scores(hostile) == scores(clean)
    assert not list(long_tmpdir.iterdir())
