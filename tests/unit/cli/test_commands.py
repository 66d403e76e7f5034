"""The command line as a user sees it, without scoring anything."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.cli.main import app, main
from diagchd_batch.cli.options import run_request
from diagchd_batch.errors import ConfigError, UsageError
from tests.support.command_line import diagchd_batch
from tests.support.servers_and_hosts.ordinary_user import reachable_directory

SAMPLE = str(bundled_path("configs/sample.yaml"))


@pytest.fixture
def call() -> Callable[..., Result]:
    runner = CliRunner()

    def run(*arguments: str) -> Result:
        return runner.invoke(app, list(arguments))

    return run


def test_schema_accepts_the_bundled_job_files_and_refuses_an_unknown_key(call: Callable[..., Result]) -> None:
    schema = json.loads(call("config", "schema").stdout)
    for path in bundled_path("configs").glob("*.yaml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "input" in document:  # It is a job, not the settings of a training.
            jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "modle": {}}, schema)


def test_show_prints_defaults_and_overrides_as_a_job_file(call: Callable[..., Result]) -> None:
    shown = yaml.safe_load(call("config", "show", SAMPLE, "--set", "model.precision=bfloat16").stdout)
    assert shown["model"]["precision"] == "bfloat16"
    assert shown["limits"]["max_attempts"] == 4


def test_show_as_json_says_the_same(call: Callable[..., Result]) -> None:
    as_yaml = yaml.safe_load(call("config", "show", SAMPLE).stdout)
    assert json.loads(call("config", "show", SAMPLE, "--json").stdout) == json.loads(json.dumps(as_yaml))


def test_a_users_mistake_ends_with_its_message_and_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["diagchd-batch", "config", "validate", str(tmp_path / "absent.yaml")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == ConfigError.exit_code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: job file")
    assert "Traceback" not in message


def test_an_unreadable_file_of_the_output_ends_with_a_message_too(tmp_path: Path) -> None:
    """The named pipe stands for a file that cannot be read, such as the key of an output that another user made."""
    (tmp_path / "_private").mkdir()
    os.mkfifo(tmp_path / "_private/id_key")
    ended = diagchd_batch("plan", SAMPLE, "--set", f"output.uri={tmp_path}")
    assert (ended.exit_code, ended.printed) == (1, "")
    assert ended.messages.startswith("error: a file that this command needs cannot be read: unreadable: id_key")


def test_an_unsafe_tmpdir_is_passed_over_with_one_plain_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with reachable_directory() as directory:  # in which every user can rename, because it lacks the sticky bit
        monkeypatch.setenv("TMPDIR", str(directory))
        ended = diagchd_batch("plan", SAMPLE, "--no-measure")
        assert list(directory.iterdir()) == []
    assert ended.exit_code == 0
    (warning,) = [line for line in ended.messages.splitlines() if line.startswith("warning:")]
    assert warning.startswith(f"warning: temporary files go to /tmp, because they cannot go to {directory}")
    assert "Warning:" not in ended.messages


def test_sample_makes_a_job_that_is_valid_where_it_was_put(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = json.loads(call("sample", "demo", "--training-studies", "2", "--json").stdout)
    assert made == {
        "cohort": "demo/cohort",
        "job_file": "demo/job.yaml",
        "training": "demo/training",
        "training_job_file": "demo/train.yaml",
    }
    for job_file in ("demo/job.yaml", "demo/train.yaml"):
        assert call("config", "validate", job_file).exit_code == 0
    job = yaml.safe_load(Path("demo/job.yaml").read_text(encoding="utf-8"))
    assert Path(job["input"]["manifest"]).is_file()
    assert all(Path(job["evaluation"][table]).is_file() for table in ("reference", "readers", "covariates"))
    with pytest.raises(Exception, match="exists already"):
        CliRunner().invoke(app, ["sample", "demo", "--training-studies", "0"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("command", "weights", "message"),
    [
        *(
            (
                words,
                "compact.h5",
                "does not fit model diagchd: it holds the weights of diagchd-compact; set model.name to",
            )
            for words in (("plan", "--no-measure"), ("submit",), ("config", "validate"))
        ),
        (("config", "validate"), "absent.h5", "absent.h5; give a checkpoint's path"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_before_a_worker_starts(
    command: tuple[str, ...], weights: str, message: str, tmp_path: Path
) -> None:
    shutil.copyfile(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5"), tmp_path / "compact.h5")
    options = (
        "model.name=diagchd",
        f"model.weights={tmp_path / weights}",
        f"output.uri={tmp_path}/out",
        "evaluation={}",
    )
    done = diagchd_batch(*command, SAMPLE, *(word for option in options for word in ("--set", option)))
    assert (done.exit_code, done.printed) == (2, "")
    assert message in done.messages
    assert not (tmp_path / "out").exists()


def test_plan_counts_the_sample_as_its_manifest_does_and_writes_nothing(
    call: Callable[..., Result], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = call(
        "plan", SAMPLE, "--no-measure", "--json", "--set", f"output.uri={output}", "--set", "model.weights=seed:0",
        "--set", f"input.uri={bundled_path('dataset/sample')}",
        "--set", f"input.manifest={bundled_path('dataset/sample/studies.csv')}",
        "--set", "evaluation={}",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    lines = (bundled_path("dataset/sample/studies.csv")).read_text(encoding="utf-8").splitlines()[1:]
    assert plan["n_images"] + plan["n_excluded"] == len(lines)
    assert plan["run_id"] is None
    assert plan["expected_s"] is None
    assert not output.exists()


def test_info_names_versions_and_models_without_loading_them(call: Callable[..., Result]) -> None:
    report = json.loads(call("info", "--json").stdout)
    assert {"diagchd", "diagchd-compact"} <= set(report["models"])
    assert report["packages"]["ray"] != "not installed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "new", "--retry", "failed"], "two runs"),
        (["--select", "failed", "--only", "new"], "two runs"),
        (["--select", "new", "--new-run"], "--new-run"),
        (["--only", "new", "--new-run"], "--new-run"),
        (["--until", "soon"], "7h30m"),
        (["--no-wait"], "--address"),
    ],
)
def test_a_submit_that_contradicts_itself_does_nothing(
    call: Callable[..., Result], tmp_path: Path, options: list[str], message: str
) -> None:
    output = tmp_path / "out"
    done = call("submit", SAMPLE, "--set", f"output.uri={output}", *options)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert not output.exists()


def test_a_path_that_cannot_be_written_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = diagchd_batch("sample", str(tmp_path / "file" / "demo"))
    assert done.exit_code == 1
    assert done.messages.startswith(f"error: {tmp_path / 'file'}") and "Traceback" not in done.messages


@pytest.mark.parametrize("address", ["foo", "head:8265", "bogus://head:8265", "json://head:8265", "//head"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    done = diagchd_batch("list", "--address", address)
    assert done.exit_code == 2
    assert f"'{address}' (--address, RAY_API_SERVER_ADDRESS or RAY_ADDRESS)" in done.messages
    assert "does not begin with http:// or https://; give the address of the cluster's dashboard" in done.messages


@pytest.mark.parametrize("command", ["list", "stop"])
def test_an_address_beside_an_output_is_refused_where_it_would_be_ignored(command: str, tmp_path: Path) -> None:
    done = diagchd_batch(command, str(tmp_path), "--address", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert "omit" in done.messages


def test_weights_that_saw_phantoms_alone_are_told_before_real_images_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIAGCHD_ID_KEY", "00" * 32)  # each plan would draw a key, and with it the order of the studies
    simulated = diagchd_batch("plan", SAMPLE, "--no-measure", "--set", f"output.uri={tmp_path}")
    assert "caution" not in simulated.messages
    real = diagchd_batch(
        "plan", SAMPLE, "--no-measure", "--set", f"output.uri={tmp_path}", "--set", "input.simulated=false"
    )
    assert "caution: the weights of model diagchd-compact were trained on SIMULATED phantoms" in real.messages
    assert real.printed == simulated.printed


def test_another_operating_system_is_refused_with_the_way_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    refused = diagchd_batch("info")
    assert (refused.exit_code, refused.printed) == (2, "")
    assert "runs on Linux only, and this is Darwin; use a Linux machine, a container" in refused.messages


def test_info_counts_cores_without_an_affinity(call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert json.loads(call("info", "--json").stdout)["cores"] >= 1


@pytest.mark.parametrize(
    ("options", "selection"),
    [
        ((None, None, None), "all"),
        (("new", None, None), "new"),
        (("failed", None, None), "failed"),
        ((None, "new", None), "new"),
        ((None, None, "failed"), "failed"),
        (("new", "new", None), "new"),
    ],
)
def test_old_spellings_of_select_mean_the_same(
    options: tuple[str | None, str | None, str | None], selection: str
) -> None:
    assert run_request(None, False, *options).selection == selection
