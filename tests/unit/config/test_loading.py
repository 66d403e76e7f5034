from collections.abc import Callable
from pathlib import Path

import pytest

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.loading import load_job
from diagchd_batch.errors import ConfigError

MINIMAL = """\
version: 1
input: {uri: in, layout: tree}
output: {uri: out}
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_command_line_beats_environment_beats_file(job_file: Callable[[str], Path]) -> None:
    path = job_file(MINIMAL + "model: {precision: float32, batch_size: 1}\nlimits: {max_attempts: 1}\n")
    environ = {"DIAGCHD_BATCH__MODEL__BATCH_SIZE": "2", "DIAGCHD_BATCH__LIMITS__MAX_ATTEMPTS": "2", "OTHER": "x"}
    job = load_job(path, ["limits.max_attempts=3"], environ)
    assert (job.model.precision, job.model.batch_size, job.limits.max_attempts) == ("float32", 2, 3)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("modle: {}\n", "modle: unknown key; did you mean model?"),
        ("model: {wieghts: bundled}\n", "model.wieghts: unknown key; did you mean weights?"),
        ("cluster: {actors: {maximum: 2}}\n", "cluster.actors.maximum: unknown key; did you mean max?"),
        (
            "evaluation: {operating_points: [{name: a, treshold: 0.5, chosen_on: x}]}\n",
            "evaluation.operating_points.0.treshold: unknown key; did you mean threshold?",
        ),
        ("model: {zzz: 1}\n", "model.zzz: unknown key; known here: name, weights, members, precision, batch_size"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_known_one(
    job_file: Callable[[str], Path], text: str, suggestion: str
) -> None:
    with pytest.raises(ConfigError, match="not valid") as caught:
        load_job(job_file(MINIMAL + text))
    assert suggestion in str(caught.value)


def test_unknown_environment_key_is_refused(job_file: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"model\.precison: unknown key; did you mean precision\?") as error:
        load_job(job_file(MINIMAL), environ={"DIAGCHD_BATCH__MODEL__PRECISON": "bfloat16"})
    assert "with DIAGCHD_BATCH__MODEL__PRECISON is not valid" in str(error.value)  # The file itself is valid.


def test_an_override_that_is_at_fault_is_named(job_file: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"with --set model\.batch_size is not valid:\n  model\.batch_size"):
        load_job(job_file(MINIMAL), ["model.batch_size=0"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "holds no keys"),
        ("", "holds no keys"),
        ("input: {uri: a", "not valid YAML"),
        (MINIMAL + "output: {uri: elsewhere}\n", "stands twice"),
        (MINIMAL.replace("tree", "manifest"), "input.manifest and layout: manifest go together"),
        (MINIMAL + "cluster: {actors: {min: 3, max: 2}}\n", "below cluster.actors.min"),
        (MINIMAL + "model: {batch_size: 0}\n", "model.batch_size"),
        (MINIMAL + "model: {precision: float16}\n", "'float32' or 'bfloat16'"),
        (MINIMAL.replace("version: 1", "version: 2"), "version"),
        (MINIMAL + "? [a, b]\n: 1\n", "a list or block stands for a key"),
        (MINIMAL + "limits: {stall_timeout_s: .inf}\n", "limits.stall_timeout_s: should be a finite number"),
    ],
)
def test_invalid_files_name_the_key_and_the_reason(job_file: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(job_file(text))
    assert message in str(caught.value)
    assert "job.yaml" in str(caught.value)


def test_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read: No such file"):
        load_job(tmp_path / "absent.yaml")


@pytest.mark.parametrize("override", ["model.precision", "=x", "version.deeper=1"])
def test_malformed_overrides_are_refused(job_file: Callable[[str], Path], override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_job(job_file(MINIMAL), [override])


def test_byte_order_mark_and_yaml_values_in_overrides(job_file: Callable[[str], Path]) -> None:
    job = load_job(job_file("\ufeff" + MINIMAL), ["evaluation.prevalence=[0.01, 0.2]", "cluster.actors.max=auto"])
    assert job.evaluation.prevalence == [0.01, 0.2]
    assert job.cluster.actors.max == "auto"


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("input.frames=middle", "middle"),
        ("input.frames={every: 5}", "every 5"),
        ("input.frames.max=12", "max 12"),
    ],
)
def test_frames_are_a_word_or_a_spacing(job_file: Callable[[str], Path], override: str, rule: str) -> None:
    job = load_job(job_file(MINIMAL), [override])
    assert job.input.frame_rule == rule
    assert JobConfig.model_validate(job.model_dump(mode="json")) == job  # as records keep it


def test_a_misspelled_spacing_is_named_with_the_nearest_key(job_file: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"input\.frames\.evry: unknown key; did you mean every\?"):
        load_job(job_file(MINIMAL), ["input.frames={evry: 3}"])


def test_label_map_keys_are_grey_values(job_file: Callable[[str], Path]) -> None:
    job = load_job(job_file(MINIMAL.replace("layout: tree", "layout: tree, label_map: {0: 0, 127: 1, 255: 2}")))
    assert job.input.label_map == {0: 0, 127: 1, 255: 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shards.images_per_shard=0", "\n  shards.images_per_shard: should be 'auto', or should be greater than or"),
        ("model=3", "\n  model: a block of keys belongs here (got 3)"),
        ("evaluation.prevalence=0.1", "\n  evaluation.prevalence: a list belongs here (got 0.1)"),
        ("evaluation.operating_points=[{name: a, threshold: 0.5}]", "operating_points.0.chosen_on: is missing"),
        ("model.=x", "--set model.=x: expected key=value"),
        ("input.frames=last", "\n  input.frames: should be 'all', 'first' or 'middle', or a block of keys belongs"),
        ("input.frames={every: 3, max: 2}", "or give either every: N or max: N"),
        ("input.frames={}", "or give either every: N or max: N"),
    ],
)
def test_reasons_are_in_a_job_files_words_one_line_a_key(
    job_file: Callable[[str], Path], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(job_file(MINIMAL), [override])
    text = str(caught.value)
    assert message in text
    assert text.count("\n") <= 1
    assert "dictionary" not in text and "Config" not in text


@pytest.mark.parametrize("name", ["DIAGCHD_BATCH_MODEL__PRECISION", "DIAGCHD_BATCH__", "DIAGCHD_BATCH__MODEL__"])
def test_a_variable_that_would_change_nothing_is_refused(job_file: Callable[[str], Path], name: str) -> None:
    with pytest.raises(ConfigError, match=f"environment variable {name}.* DIAGCHD_BATCH__"):
        load_job(job_file(MINIMAL), environ={name: "bfloat16"})
    assert load_job(job_file(MINIMAL), environ={"DIAGCHD_BATCH_LOG": "json"}) == load_job(job_file(MINIMAL))


@pytest.mark.parametrize("name", ["sample", "dicom"])
def test_the_ready_job_files_are_valid(name: str) -> None:
    job = load_job(bundled_path(f"configs/{name}.yaml"))
    assert job.input.layout == {"sample": "manifest", "dicom": "dicom"}[name]
