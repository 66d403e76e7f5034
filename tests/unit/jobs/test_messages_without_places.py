"""A job's output on a cluster is kept in Ray's logs and job API, so it names settings and no place in the archive."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.uri_redaction import UriRedactor, job_places
from diagchd_batch.errors import ConfigError, InputError, ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.runs.submit import SubmitOptions, check_job
from diagchd_batch.scoring.liveness.driver_log import DriverLog, read_log
from diagchd_batch.scoring.liveness.progress_events import RunProgress
from diagchd_batch.sources import open_source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.storage import open_store
from jobs import run_submitted_job, score

CANARY = "ZQX"
RUN = "run-1"


@pytest.fixture
def job(tmp_path: Path) -> JobConfig:
    archive = tmp_path / f"archive of {CANARY}"
    archive.mkdir()
    tables = {name: str(tmp_path / f"{name}-{CANARY}.csv") for name in ("reference", "readers", "covariates")}
    return JobConfig.model_validate(
        {
            "input": {"uri": str(archive), "layout": "manifest", "manifest": str(archive / "Münze.csv")},
            "output": {"uri": str(tmp_path / f"out-{CANARY}")},
            "evaluation": tables,
        }
    )


def unreadable_directory(job: JobConfig) -> None:
    raise StorageFault(f"{job.input.uri}: a directory below it cannot be listed; find it with: find {job.input.uri} -d")


def closed_file(job: JobConfig) -> None:
    raise PermissionError(13, "Permission denied", f"{job.input.uri}/Patientin {CANARY}/a.png")


def archive_that_is_gone(job: JobConfig) -> None:
    Path(job.input.uri).rmdir()
    check_readable(open_source(job.input.uri))


def table_that_is_gone(job: JobConfig) -> None:
    check_job(job)


def place_below_the_archive(job: JobConfig) -> None:
    raise ConfigError(f"{job.input.uri}/Patientin {CANARY} (geb. {CANARY}), x: not usable; choose another")


def place_beside_the_archive(job: JobConfig) -> None:
    raise InputError(f"{job.input.uri}-old/{CANARY}: not usable")


def one_file(job: JobConfig) -> None:
    raise ItemError(FailureCode.UNREADABLE, f"{CANARY}/a.png: not a regular file")


def unforeseen(job: JobConfig) -> None:
    raise KeyError(f"{job.input.manifest}: {CANARY}")


def chained(job: JobConfig) -> None:
    try:
        closed_file(job)
    except OSError as error:
        raise RuntimeError(f"cannot go on with {CANARY}") from error


KINDS: dict[Callable[[JobConfig], None], tuple[str, int]] = {
    unreadable_directory: ("input.uri: a directory below it cannot be listed; find it with: find input.uri -d", 1),
    closed_file: ("unforeseen fault (PermissionError in input.uri: Permission denied)", 1),
    archive_that_is_gone: ("input.uri cannot be used", 1),
    table_that_is_gone: ("evaluation.reference", 2),
    place_below_the_archive: ("error: input.uri/…", 2),
    place_beside_the_archive: ("error: input.uri/…", 2),
    one_file: ("unforeseen fault (ItemError)", 1),
    unforeseen: ("unforeseen fault (KeyError)", 1),
    chained: ("unforeseen fault (RuntimeError)", 1),
}


def run(
    job: JobConfig, kind: Callable[[JobConfig], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> int:
    """Run the job as a cluster does, in the working directory that `submit` has sent. `kind` replaces the scoring."""

    def submit(options: SubmitOptions, progress: RunProgress, _: DriverLog) -> None:
        config = options.config
        warnings.warn(f"{config.input.uri}/{CANARY}: a damaged record is left out", stacklevel=1)
        progress.message(f"listing {config.input.uri}")
        kind(config)

    private = open_store(f"{job.output.uri}/_private", owner_only=True)
    private.create(output_layout.submitted_job("job"), job.model_dump_json().encode())
    (tmp_path / "private_uri").write_text(private.uri)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(score, "submit_on_joined_ray", submit)
    monkeypatch.setattr("sys.argv", ["job", "job", *options])
    return run_submitted_job.main()


@pytest.mark.parametrize("log", ["", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_names_the_setting_and_the_private_tree_has_the_full_text(
    job: JobConfig,
    kind: Callable[[JobConfig], None],
    log: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DIAGCHD_BATCH_LOG", log)
    expected, exit_code = KINDS[kind]
    assert run(job, kind, tmp_path, monkeypatch, "--run-id", RUN) == exit_code
    printed = "".join(capfd.readouterr())
    assert CANARY not in printed and str(tmp_path) not in printed
    if log == "json":
        printed = "\n".join(json.loads(line)["text"] for line in printed.splitlines())
    assert expected in printed
    assert "listing input.uri" in printed and "warning: input.uri/…" in printed
    assert f"the command `logs` with --run-id {RUN} prints it" in printed
    kept = read_log(open_store(f"{job.output.uri}/_private"), RUN)
    assert f"listing {job.input.uri}" in kept
    assert kept.count(CANARY) > (2 if kind is table_that_is_gone else 3)  # That fault itself names no place.


def test_a_driver_that_knows_no_run_keeps_the_full_text_too(
    job: JobConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(job, unforeseen, tmp_path, monkeypatch) == 1
    assert CANARY not in "".join(capfd.readouterr())
    (kept,) = (Path(job.output.uri) / "_private" / "faults").iterdir()
    assert "Traceback" in kept.read_text(encoding="utf-8") and CANARY in kept.read_text(encoding="utf-8")


def test_a_private_tree_that_is_gone_is_not_named(
    job: JobConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private_uri").write_text(f"{job.output.uri}/_private")
    monkeypatch.setattr("sys.argv", ["job", "job", "--run-id", RUN])
    assert run_submitted_job.main() == 2
    printed = "".join(capfd.readouterr())
    assert "does not see the private tree" in printed and CANARY not in printed


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("s3://archive/pre at s3.example.org:9000 denies access", "input.uri at s3.example.org:9000 denies access"),
        ("a manifest in 's3://archive/pre/m.csv', line 3", "a manifest in 'input.manifest', line 3"),
        ("s3://archive/pre.", "input.uri."),
        ("s3://archive/pre/patient 1.png is gone\nfree some space", "input.uri/…\nfree some space"),
        ("s3://archive/prefix/patient", "input.uri/…"),
        ("write s3://bucket/prefix, 12 images/s", "write s3://bucket/prefix, 12 images/s"),
        ("s3://results/out/_private and s3://results/out", "output.private_uri and output.uri"),
    ],
)
def test_places_are_told_from_what_lies_below_and_beside_them(text: str, hidden: str) -> None:
    config = JobConfig.model_validate(
        {
            "input": {"uri": "s3://archive/pre/", "layout": "manifest", "manifest": "s3://archive/pre/m.csv"},
            "output": {"uri": "s3://results/out"},
        }
    )
    assert UriRedactor(job_places(config)).hide(text) == hidden


def test_relative_places_and_the_root_are_hidden_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = JobConfig.model_validate({"input": {"uri": "/", "layout": "tree"}, "output": {"uri": "out"}})
    names = UriRedactor(job_places(config))
    assert names.hide(f"{tmp_path}/out is full; an out of order word") == "output.uri is full; an out of order word"
    assert names.hide("/srv/patient 1.png is gone") == "input.uri/…"
