"""`submit --address` and related commands, over HTTP, with a real Ray head and token authentication."""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from diagchd_batch.cluster.job_api import UPLOAD_LIMIT_BYTES
from diagchd_batch.results import open_output
from tests.support.checkers.planted_modules import IMPORTED, plant_modules
from tests.support.dicom_archives import dicom_file, ultrasound_header, write_archive
from tests.support.scoring_runs import ID_KEY, PROJECT, Ending, ScoringRun, descendants, kill, write_cohort
from tests.support.servers_and_hosts.ray_cluster import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CANARY = "canary-8c1f0e77-not-to-be-told"
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A Ray head.

    Attributes:
        address: The address of its dashboard.
        environ: The environment of its clients.
        session: The directory of Ray's files.
        working_directory: Where clients start. It holds modules that must not be imported.
        python: The program that the head's jobs find as `python`. A test may replace it.
    """

    address: str
    environ: dict[str, str]
    session: Path
    working_directory: Path
    python: Path

    def get(self, path: str) -> str:
        request = urllib.request.Request(
            self.address + path, headers={"Authorization": f"Bearer {self.environ['RAY_AUTH_TOKEN']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with (
        tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as directory,
        tempfile.TemporaryDirectory(prefix="planted-", dir="/tmp") as planted,
        tempfile.TemporaryDirectory(prefix="programs-", dir="/tmp") as programs,
    ):
        plant_modules(Path(planted))
        python = Path(programs) / "python"
        _write_program(python, f'exec {sys.executable} "$@"')
        environ = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        environ |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DIAGCHD_ID_KEY": ID_KEY}
        gcs, dashboard, agent, agent_grpc = _free_ports(4)
        command = [
            *(PROGRAMS / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={gcs}"),
            *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
            *(f"--dashboard-agent-grpc-port={agent_grpc}", "--object-store-memory=134217728"),
            *("--include-dashboard=true", f"--temp-dir={directory}"),
        ]
        started = Head(f"http://127.0.0.1:{dashboard}", environ, Path(directory), Path(planted), python)
        with _answering(started, command, environ | {"AWS_SECRET_ACCESS_KEY": CANARY}):
            yield started


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@contextmanager
def _answering(head: Head, command: Sequence[object], environ: Mapping[str, str]) -> Iterator[None]:
    """Run the head within the block, and start it again if it ends while it starts.

    Ray allows a head half a minute to start, which is too short on a busy machine.
    """
    deadline_s = time.monotonic() + 600
    ray = None
    try:
        while not _lives(head):
            assert time.monotonic() < deadline_s, "the Ray head did not come up"
            if ray is None or ray.poll() is not None:
                ray = subprocess.Popen(
                    list(map(str, command)),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | environ,
                )
            time.sleep(1)
        yield
    finally:
        if ray is not None:
            for pid in (ray.pid, *descendants(ray.pid)):  # An orderly end would take half a minute.
                kill(pid)
            ray.wait(timeout=90)


def _lives(head: Head) -> bool:
    try:
        return '"ALIVE"' in head.get("/nodes?view=summary")
    except OSError:  # urllib's errors are subclasses of it.
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _started(head: Head, *words: object, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAMS / "diagchd-batch", *map(str, words)],
        cwd=head.working_directory,
        env=os.environ | head.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(client: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        stdout, stderr = client.communicate(timeout=600)
    finally:
        client.kill()
    return subprocess.CompletedProcess(client.args, client.returncode, stdout, stderr)


def _command(head: Head, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return _ended(_started(head, *words, **environ))


def _ways_back(messages: str) -> dict[str, list[str]]:
    """Return the commands that a detaching client prints: description, such as ``follow it`` → arguments."""
    told = (line.partition(": diagchd-batch ") for line in messages.splitlines())
    return {what: shlex.split(words) for what, found, words in told if found}


def _interrupt_once_it_follows(client: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal as soon as the client prints lines of the job's log. Return all of the client's messages."""
    lines = [next(client.stderr)]
    while not (len(lines) > 1 and lines[-2].startswith("attached to ")):
        lines.append(next(client.stderr))
    assert client.poll() is None, lines
    client.send_signal(number)
    stdout, rest = client.communicate(timeout=60)
    assert stdout == ""
    return "".join(lines) + rest


def _drivers(run_id: str) -> list[int]:
    """Return the process ids of the run's job on the cluster."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"jobs.run_submitted_job\0{run_id}-s1" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


def _job_file(run: ScoringRun) -> Path:
    run.directory.mkdir(parents=True, exist_ok=True)
    job = {
        "version": 1,
        "input": {"uri": str(run.cohort), "layout": "tree"},
        "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
        "output": {"uri": str(run.output)},
        "shards": {"images_per_shard": 8},
    }
    path = run.directory / "job.yaml"
    path.write_text(json.dumps(job))
    return path


@pytest.mark.parametrize("token", ["", secrets.token_hex(32)], ids=["no token", "wrong token"])
def test_without_the_token_it_is_refused_with_the_remedy(head: Head, tmp_path: Path, token: str) -> None:
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2))
    environ = {"RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": "disabled"}
    refused = _command(head, "submit", _job_file(run), "--address", head.address, **environ)
    assert refused.returncode == 2
    assert "RAY_AUTH_TOKEN_PATH" in refused.stderr and "Traceback" not in refused.stderr
    assert not run.output.exists()


def test_a_cluster_with_another_ray_is_refused_with_the_remedy(head: Head, tmp_path: Path) -> None:
    """The client is patched, so that it reports another version of Ray than the head's."""
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.13.0'\n")
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2))
    refused = _command(head, "submit", _job_file(run), "--address", head.address, PYTHONPATH=str(tmp_path))
    assert refused.returncode == 2
    assert f"the cluster runs Ray {version('ray')}, this client 1.13.0; install ray=={version('ray')}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(run.output.glob("scores/**/*.parquet"))


@pytest.mark.parametrize(
    ("is_old", "problem"),
    [(False, "lacks boto3"), (True, "Python 3.9.18 is too old, 3.11 is needed")],
    ids=["no packages", "an old Python"],
)
def test_a_head_whose_python_cannot_run_the_package_is_refused_with_the_remedy(
    head: Head, tmp_path: Path, is_old: bool, problem: str
) -> None:
    """The head's Python sees no installed packages, or reports an old version."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 9, 18, 'final', 0)\n")
    python = f"env PYTHONPATH={tmp_path} {sys.executable}" if is_old else f"{sys.executable} -S"
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2), run_id=None)
    before = head.python.read_text()
    _write_program(head.python, f'unset PYTHONPATH\nexec {python} "$@"')
    try:
        refused = _command(head, "submit", _job_file(run), "--address", head.address)
    finally:
        head.python.write_text(before)
    assert refused.returncode == 2, refused.stderr
    assert "the cluster's head: " in refused.stderr and problem in refused.stderr
    assert "deploy/Dockerfile" in refused.stderr and "Traceback" not in refused.stderr
    assert run.committed() == []


@dataclass(frozen=True)
class FirstNight:
    """A run that two clients submitted at once. `both` has their ends, and `local` the same run without a cluster."""

    run: ScoringRun
    both: list[subprocess.CompletedProcess[str]]
    local: ScoringRun
    local_ending: Ending


@pytest.fixture(scope="module")
def first_night(head: Head, tmp_path_factory: pytest.TempPathFactory) -> FirstNight:
    """Submit a run twice at once, beside a run of the same images without a cluster."""
    directory = tmp_path_factory.mktemp("first-night")
    cohort = write_cohort(directory / "cohort-canary-patient-name", 24)
    (cohort / "study-0000" / "broken.png").write_bytes(b"not a picture")
    run, local = ScoringRun(directory / "joined", cohort), ScoringRun(directory / "local", cohort)
    named = ("--run-id", run.run_id)
    with local.started() as at_once:
        clients = [_started(head, *_submit_new(head, run), *named) for _ in range(2)]
        both = [_ended(client) for client in clients]
        ending = at_once.ending()
    return FirstNight(run, both, local, ending)


def _submit_new(head: Head, run: ScoringRun) -> list[object]:
    return ["submit", _job_file(run), "--address", head.address, "--select", "new", "--json"]


def test_two_submits_at_once_give_one_run_which_equals_a_local_one_and_tell_no_secret(
    head: Head, first_night: FirstNight
) -> None:
    run, both = first_night.run, first_night.both
    assert first_night.local_ending.exit_code == 3, first_night.local_ending.messages
    assert not (head.working_directory / IMPORTED).exists()
    assert [one.returncode for one in both] == [3, 3], both
    assert {json.loads(one.stdout)["submission_id"] for one in both} == {f"{run.run_id}-s1"}
    assert run.score_bytes() == first_night.local.score_bytes()
    assert len(run.committed()) == 4

    log = _command(head, "logs", "--run-id", run.run_id, "--address", head.address).stdout
    kept = _command(head, "logs", run.output, "--run-id", run.run_id)
    assert '"counts"' in kept.stdout and set(kept.stdout.splitlines()) <= set(log.splitlines())
    gone = _command(head, "logs", run.output, "--run-id", run.run_id, "--address", "http://127.0.0.1:9")
    assert "no answer from" in gone.stderr and gone.stdout == kept.stdout
    neither = _command(head, "logs", "--run-id", run.run_id, "--address", "http://127.0.0.1:9")
    assert neither.returncode == 1 and "logs OUTPUT" in neither.stderr
    _assert_tells_no_secret(head, log, kept.stdout, both[0].stderr)


def test_only_what_is_new_is_scored_in_the_next_night(head: Head, first_night: FirstNight, tmp_path: Path) -> None:
    run = first_night.run
    words = _submit_new(head, run)
    write_cohort(tmp_path / "more", 28, seed=1)
    for study in sorted((tmp_path / "more").iterdir())[12:]:
        study.rename(Path(run.cohort) / study.name)
    second = _command(head, *words)
    assert second.returncode == 0, second.stderr
    run_id = json.loads(second.stdout)["run_id"]
    records = {record.run_id: record for record in open_output(str(run.output)).runs()}
    assert {name: record.plan.n_images for name, record in records.items()} == {run.run_id: 25, run_id: 4}
    assert [records[name].parent_run_id for name in (run.run_id, run_id)] == [None, run.run_id]
    assert len(open_output(str(run.output)).current_predictions()) == 29
    nothing = _command(head, *words)
    assert nothing.returncode == 0, nothing.stderr
    assert '"nothing_selected": true' in nothing.stderr
    assert set(records) == set(open_output(str(run.output)).run_ids())
    assert _command(head, "verify", run.output).returncode == 0


def _assert_tells_no_secret(head: Head, *texts: str) -> None:
    for text in (head.get("/api/jobs/"), *texts):
        for hidden in (CANARY, ID_KEY, head.environ["RAY_AUTH_TOKEN"], "canary-patient-name", "study-0000"):
            assert hidden not in text


def test_no_place_of_the_archive_reaches_ray(head: Head, tmp_path: Path) -> None:
    """An archive that is gone gives a message without its path. The log in the private tree has the path."""
    place = tmp_path / CANARY
    run = ScoringRun(place / "run", write_cohort(place / "archive", 4))
    archive = place / "archive"
    archive.rename(place / "hidden")
    gone = _command(head, "submit", _job_file(run), "--run-id", run.run_id, "--address", head.address)
    assert gone.returncode == 1 and "error: input.uri cannot be used" in gone.stderr

    assert str(archive) in _command(head, "logs", run.output, "--run-id", run.run_id).stdout
    logs = [path for path in head.session.rglob("*") if path.is_file() and path.stat().st_size < 10_000_000]
    for text in (gone.stderr, head.get("/api/jobs/"), *(_readable(path) for path in logs)):
        assert str(archive) not in text


def _readable(path: Path) -> str:
    with suppress(OSError):  # Ray replaces and removes files meanwhile.
        return path.read_bytes().decode(errors="replace")
    return ""


def test_a_client_that_goes_leaves_its_run_to_the_cluster_and_says_how_to_come_back(head: Head, tmp_path: Path) -> None:
    """Clients detach because of --no-wait, Ctrl-C and SIGTERM. Each one is started by a command that the last printed.

    The job's driver is suspended meanwhile, so that the run cannot end before all clients have detached. At the end the
    same command repeats the outcome of the finished run.
    """
    cohort = write_cohort(tmp_path / "cohort-canary-patient-name", 16)
    (cohort / "study-0000" / "broken.png").write_bytes(b"not a picture")
    run = ScoringRun(tmp_path / "run", cohort, run_id=None)
    words = ("submit", _job_file(run), "--address", head.address, "--new-run", "--json")
    gone = _command(head, *words, "--no-wait")
    assert gone.returncode == 0, gone.stderr
    told = json.loads(gone.stdout)
    run_id, submission_id = told["run_id"], told["submission_id"]
    assert (submission_id, told["exit_code"]) == (f"{run_id}-s1", None)
    assert f"submitted {submission_id}" in gone.stderr
    success = run.output / "runs" / f"run_id={run_id}" / "_SUCCESS"
    assert not success.exists()
    ways = _ways_back(gone.stderr)

    messages = _interrupt_once_it_follows(client := _started(head, *ways["follow it"]), signal.SIGINT)
    heartbeats = run.output / "_private" / "runs" / f"run_id={run_id}" / "heartbeats"
    wait_until(lambda: any(heartbeats.glob("driver-*.json")), "the driver claims the run")  # `status` then knows it
    frozen = _drivers(run_id)
    assert frozen, messages
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert client.returncode == 130, messages
        assert f"detached (SIGINT); run {run_id} goes on on the cluster" in messages
        assert "Traceback" not in messages and "Error" not in messages
        assert _ways_back(messages) == ways

        messages = _interrupt_once_it_follows(client := _started(head, *ways["follow it"]), signal.SIGTERM)
        assert client.returncode == 143, messages
        assert f"attached to {submission_id}" in messages and "detached (SIGTERM)" in messages
        assert "Traceback" not in messages and "Error" not in messages
        assert run_id in _command(head, *ways["see how far it is"]).stdout
        assert not success.exists()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    job = f"/api/jobs/{submission_id}"
    wait_until(lambda: json.loads(head.get(job))["status"] != "RUNNING", "the job's end", lambda: head.get(job))
    assert success.exists(), _command(head, "logs", run.output, "--run-id", run_id).stdout
    back = _command(head, *ways["follow it"])
    assert back.returncode == 3, back.stderr
    assert json.loads(back.stdout) == {"run_id": run_id, "submission_id": f"{run_id}-s2", "exit_code": 3}
    assert '"repeated": true' in back.stderr
    assert re.search(r"status +finished", _command(head, *ways["see how far it is"]).stdout)
    assert "does not run: it is finished" in _command(head, *ways["end it"]).stderr
    (state,) = json.loads(_command(head, "status", run.output, "--json").stdout)
    assert (state["status"], state["shards_done"], state["exit_code"]) == ("finished", state["n_shards"], 3)
    assert open_output(str(run.output)).run_ids() == [run_id]
    assert _command(head, "verify", run.output).returncode == 0
    _assert_tells_no_secret(head, messages, back.stderr)


def test_a_package_too_large_for_ray_is_refused_with_the_remedy_and_leaves_nothing(head: Head, tmp_path: Path) -> None:
    """The client runs from a copy of the project with a large file of weights below configs/."""
    copy = tmp_path / "project"
    for name in ("diagchd_batch", "jobs", "configs"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "configs" / "models" / "ours").mkdir()
    with (copy / "configs" / "models" / "ours" / "weights.h5").open("wb") as file:
        file.truncate(UPLOAD_LIMIT_BYTES)  # The other files of the package make the sum larger than the limit.
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2))
    refused = _command(head, "submit", _job_file(run), "--address", head.address, PYTHONPATH=str(copy))
    assert refused.returncode == 2, refused.stderr
    assert "MB, above Ray's limit of 105 MB; name large weights by model.weights" in refused.stderr
    assert "Traceback" not in refused.stderr and "submitted" not in refused.stderr
    assert not list(run.output.rglob("submitted/*"))
    assert str(run.output) not in head.get("/api/jobs/")


def test_the_index_of_headers_is_made_in_tasks_and_the_job_tells_no_place(head: Head, tmp_path: Path) -> None:
    archive = tmp_path / "archive-canary-patient-name"
    run = ScoringRun(tmp_path / "run", archive)
    write_archive(archive, 150)  # three tasks
    (archive / "cut.dcm").write_bytes(dicom_file(ultrasound_header(1))[:200])
    words = ("index", _job_file(run), "--address", head.address, "--json")
    first = _command(head, *words)
    assert first.returncode == 3, first.stderr
    counts = json.loads(first.stdout)
    assert (counts["n_read"], counts["kinds"]) == (151, {"image": 150, "unreadable": 1})
    assert "submitted index-of-headers-s1" in first.stderr and "151 headers to read" in first.stderr
    here = _command(head, "index", _job_file(run), "--json")
    assert (here.returncode, json.loads(here.stdout)["n_read"]) == (3, 0)
    assert "canary" not in first.stdout + first.stderr

    (archive / "cut.dcm").unlink()
    archive.rename(tmp_path / "moved-canary")
    gone = _command(head, *words)
    assert gone.returncode == 1, gone.stderr
    assert "input.uri" in gone.stderr and "canary" not in gone.stderr


def test_a_training_on_a_cluster_gives_a_package_and_is_repeated_without_work(head: Head, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort-canary-patient-name", 16)
    rows = ["study_id,uri,label,part"]
    for number in range(8):
        for image in (2 * number, 2 * number + 1):
            part = "validation" if number > 5 else "training"
            rows.append(f"s{number},study-{number:04d}/image-{image:04d}.png,{number % 2},{part}")
    (tmp_path / "studies.csv").write_text("\n".join(rows))
    stage = {"name": "head", "trains": "classifier", "epochs": 1, "batch_size": 4}
    job = {
        "version": 1,
        "input": {"uri": str(cohort), "layout": "manifest", "manifest": str(tmp_path / "studies.csv")},
        "model": {"name": "diagchd-compact"},
        "output": {"uri": str(tmp_path / "out")},
        "training": {
            "package_uri": str(tmp_path / "package"),
            "folds": {"rule": "column", "column": "part"},
            "stages": [stage],
        },
    }
    (tmp_path / "train.json").write_text(json.dumps(job))
    words = ("train", tmp_path / "train.json", "--run-id", "mine", "--address", head.address, "--json")
    trained = _command(head, *words)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["submission_id"] == "mine-s1"
    assert (tmp_path / "package" / "card.json").exists()
    log = _command(head, "logs", tmp_path / "out", "--run-id", "mine", "--address", head.address).stdout
    assert "fold 0: " in log
    assert "canary-patient-name" not in log
    again = _command(head, *words)
    assert (again.returncode, json.loads(again.stdout)["submission_id"]) == (0, "mine-s2"), again.stderr
