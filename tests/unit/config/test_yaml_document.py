"""YAML of any content gives a value or a short message with file and line, without much time or memory."""

import resource
import time
from pathlib import Path

import pytest

from diagchd_batch.config.loading import load_job
from diagchd_batch.config.yaml_document import MAX_DOCUMENT_BYTES, read_yaml
from diagchd_batch.errors import ConfigError

JOB = "version: 1\ninput: {uri: in, layout: tree}\noutput: {uri: out}\n"
BOMB = "model:\n  name:\n   - &a0 [1, 1]\n" + "".join(
    f"   - &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
HOSTILE = {
    "aliases in a typed field": (JOB + BOMB, "anchors (&) and aliases (*) are not allowed"),
    "a list within itself": ("a: &a [*a]\n", "anchors (&)"),
    "an anchor that nothing names": (JOB + "model: &m {}\n", "anchors (&)"),
    "brackets": ("a: " + "[" * 100_000, "blocks or lists lie within each other"),
    "closed brackets": ("a: " + "[" * 20_000 + "]" * 20_000, "blocks or lists lie within each other"),
    "braces": ("a: " + "{a: " * 5_000, "blocks or lists lie within each other"),
    "dashes": ("- " * 100_000, "blocks or lists lie within each other"),
    "a decimal number": ("version: " + "9" * 200_000, "a number has more than 40 characters"),
    "a hexadecimal number": ("version: 0x" + "f" * 100_000, "a number has more than 40 characters"),
    "a number of minutes": ("version: " + "1:" * 50_000 + "1", "a number has more than 40 characters"),
    "a date": ("version: 2024-99-99", "'2024-99-99' is not a possible timestamp"),
    "a text as a number": ("version: !!int x", "'x' is not a possible int"),
    "a text as a truth value": ("version: !!bool x", "'x' is not a possible bool"),
    "a text as a date": ("version: !!timestamp x", "'x' is not a possible timestamp"),
    "code": ("version: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    "a long tag": ("version: !" + "x" * 100_000 + " 1", "could not determine a constructor"),
    "a character of no text": ("version: 1\0", "special characters are not allowed"),
    "two documents": ("a: 1\n---\nb: 2\n", "expected a single document"),
    "length": ("x" * (MAX_DOCUMENT_BYTES + 1), "longer than"),
    "a key that is long and stands twice": (f"? {'x' * 100_000}\n: 1\n? {'x' * 100_000}\n: 2\n", "stands twice"),
    "many unknown keys": (JOB + "".join(f"k{n}: 1\n" for n in range(1_000)), "and 980 more"),
    "a list of wrong values": (JOB + f"evaluation: {{prevalence: [{'x, ' * 1_000}]}}", "and 980 more"),
    "a long value": (JOB + f"model: {{precision: {'x' * 200_000}}}", "'float32' or 'bfloat16'"),
    "a long unknown key": (JOB + f"? {'x' * 200_000}\n: 1\n", "unknown key"),
    "an endless wait": (JOB + "limits: {decode_timeout_s: 1e308}", "less than or equal to 1000000000"),
    "a number beyond the tables'": (JOB + "shards: {images_per_shard: 99999999999999999999}", "less than or equal"),
    "a negative seed": (JOB + "evaluation: {seed: -1}", "greater than or equal to 0"),
    "a cut point that is no number": (JOB + "evaluation: {cut_points: {a: [.nan]}}", "should be a finite number"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_job_file_ends_in_a_short_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    began_s, before_kb = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as caught:
        load_job(tmp_path / "job.yaml")
    assert message in str(caught.value)
    assert "job.yaml" in str(caught.value)
    assert len(str(caught.value)) < 6_000
    assert time.process_time() - began_s < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000


@pytest.mark.parametrize("text", ["a=&a [*a]", "a=" + "[" * 3_000, "model.name=2024-99-99", "shards=" + "9" * 9_000])
def test_values_of_overrides_and_variables_are_read_with_the_same_care(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the value of --set \S+ is not valid YAML") as caught:
        load_job(tmp_path / "job.yaml", [text.replace(" ", "")])
    assert len(str(caught.value)) < 1_000
    key, _, value = text.partition("=")
    name = "DIAGCHD_BATCH__" + key.replace(".", "__").upper()
    with pytest.raises(ConfigError, match=rf"the value of environment variable {name} is not valid YAML"):
        load_job(tmp_path / "job.yaml", environ={name: value})


def test_a_malformed_override_is_not_repeated_in_full(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    with pytest.raises(ConfigError, match="expected key=value") as caught:
        load_job(tmp_path / "job.yaml", ["x" * 100_000])
    assert len(str(caught.value)) < 300


def test_a_message_names_the_line() -> None:
    with pytest.raises(ConfigError, match='in "job file j", line 3, column 7'):
        read_yaml("a: 1\nb: 2\nday: [2024-02-30]\n", "job file j")
