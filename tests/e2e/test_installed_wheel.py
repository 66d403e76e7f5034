"""The built wheel in an empty environment works as it does for a user who does not have this repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagchd_batch.exit_codes import ExitCode
from tests.support.scoring_runs import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command in a new virtual environment with only the wheel and its dependencies."""
    directory = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(directory), str(PROJECT)])
    (wheel,) = directory.glob("*.whl")
    _run([sys.executable, "-m", "venv", str(directory / "venv")])
    pip = [str(directory / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--retries", "10"]
    pip += ["--no-compile"]  # Compiling all of TensorFlow takes half a minute; imported modules are compiled anyway.
    _run([*pip, "--constraint", str(PROJECT / "constraints.txt"), str(wheel)])
    return directory / "venv/bin/diagchd-batch"


def test_the_sample_job_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    _run([str(installed), "sample", "demo", "--training-studies", "2"], tmp_path)
    summary = _run([str(installed), "submit", "demo/job.yaml"], tmp_path, exit_code=ExitCode.FAILED_INPUTS)
    assert "121 frames of 122 images" in summary  # one file is damaged on purpose
    assert "every planned frame exactly once" in _run([str(installed), "verify", "demo/out"], tmp_path)


def test_nothing_but_the_package_is_at_the_top_level(installed: Path) -> None:
    (site_packages,) = installed.parents[1].glob("lib/python*/site-packages")
    (record,) = site_packages.glob("diagchd_batch-*.dist-info/RECORD")
    top_level = {line.split("/")[0] for line in record.read_text().splitlines() if not line.startswith("..")}
    assert top_level == {"diagchd_batch", record.parent.name}


def _run(command: list[str], directory: Path | None = None, exit_code: int = 0) -> str:
    # With PYTHONDONTWRITEBYTECODE every command would compile all modules again.
    others = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == exit_code, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
