"""A real S3 server for tests: Ceph's radosgw on loopback, started once per test session.

`s3_server` is the server. `s3_uri` gives one test an empty bucket and sets the environment so that boto3 finds it.
Tests that use them are skipped with a reason if the server's packages are not installed.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest

START_SCRIPT = Path(__file__).parents[3] / "tools" / "start-radosgw"
PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")


@dataclass(frozen=True)
class S3Server:
    """A running server. `environ` is a client's environment. It hides any other S3 account of this machine."""

    environ: dict[str, str]

    @property
    def endpoint_url(self) -> str:
        return self.environ["AWS_ENDPOINT_URL_S3"]

    @cached_property
    def client(self) -> Any:
        """A boto3 client for setting up and checking, which is independent of the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.environ["AWS_REGION"],
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environ["AWS_SECRET_ACCESS_KEY"],
        )

    def new_bucket(self) -> str:
        """Create an empty bucket and return its name."""
        name = f"test-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: install the packages radosgw, ceph-mon and ceph-osd to run S3 tests")
    # The path of an OSD's admin socket can have at most 107 characters, and pytest's directories can be longer.
    directory = Path(f"/tmp/radosgw-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        started = subprocess.run(
            [str(START_SCRIPT), str(directory), str(_free_port_pair()), str(os.getpid())],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert started.returncode == 0, f"{started.stderr}\n{_log(directory)}"
        environ = dict(line.split("=", 1) for line in started.stdout.splitlines())
        yield S3Server(environ | NO_OTHER_ACCOUNT)
    finally:
        for pid_file in directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


NO_OTHER_ACCOUNT = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def s3_environ(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set this process's environment so that it reaches only this server, and return the variables that were set."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    return s3_server.environ


@pytest.fixture
def s3_uri(s3_server: S3Server, s3_environ: dict[str, str]) -> str:
    """Return the URI of a new, empty bucket, ``s3://bucket``, that clients reach through the environment."""
    return f"s3://{s3_server.new_bucket()}"


def _free_port_pair() -> int:
    """Return a free port whose successor is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def _log(directory: Path) -> str:
    path = directory / "log" / "setup.log"
    return path.read_text()[-2000:] if path.exists() else ""
