"""A run id that leads out of an output, and a text not in UTF-8, end every command with a message and exit code 2."""

from pathlib import Path

import pytest

from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import MadeOutput, MadeStudy

COMMANDS = [
    ("verify", "OUTPUT", "--run-id", "RUN"),
    ("status", "OUTPUT", "--run-id", "RUN"),
    ("stop", "OUTPUT", "--run-id", "RUN"),
    ("logs", "OUTPUT", "--run-id", "RUN"),
    ("evaluate", "OUTPUT", "--run-id", "RUN"),
    ("report", "OUTPUT", "--run-id", "RUN"),
    ("show", "OUTPUT", "s-0123456789abcdef", "--run-id", "RUN"),
    ("compare", "OUTPUT", "RUN", "RUN"),
    ("query", "OUTPUT", "FROM predictions", "--run-id", "RUN"),
    ("export", "shareable", "OUTPUT", "DESTINATION", "--run-id", "RUN"),
    ("export", "worklist", "OUTPUT", "--run-id", "RUN"),
    ("plan", "JOB", "--run-id", "RUN"),
    ("submit", "JOB", "--run-id", "RUN"),
]


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "x\x1b[2J"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_run_id_that_is_none_ends_the_command(tmp_path: Path, command: tuple[str, ...], run_id: str) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "job.yaml").write_text(
        f"input: {{uri: {tmp_path / 'archive'}, layout: tree}}\noutput: {{uri: {tmp_path / 'output'}}}\n"
        "model: {name: diagchd-compact, weights: seed:0}\n"
    )
    words = {
        "OUTPUT": str(tmp_path / "output"),
        "RUN": run_id,
        "DESTINATION": str(tmp_path / "exported"),
        "JOB": str(tmp_path / "job.yaml"),
    }
    ended = diagchd_batch(*(words.get(word, word) for word in command))
    assert ended.exit_code == 2, ended.messages
    assert "is no run id" in ended.messages
    assert "\x1b" not in ended.messages
    assert list((tmp_path / "output").iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("show", "OUTPUT", "TEXT"),
        ("delete", "OUTPUT", "--subject", "TEXT"),
        ("query", "OUTPUT", "TEXT"),
        ("query", "OUTPUT", "-"),
        ("export", "png", "OUTPUT", "DESTINATION", "--where", "TEXT"),
        ("export", "dicom", "OUTPUT", "DESTINATION", "--where", "TEXT"),
    ],
    ids=" ".join,
)
def test_a_text_in_another_encoding_ends_the_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    latin_1 = b"M\xfcller".decode(errors="surrogateescape")  # as Python gives arguments
    made = MadeOutput(tmp_path / "output")
    made.write_run([MadeStudy("A", [[0.5]])])
    words = {"OUTPUT": made.output.uri, "DESTINATION": str(tmp_path / "exported"), "TEXT": latin_1}
    ended = diagchd_batch(*(words.get(word, word) for word in command), stdin=latin_1)
    assert ended.exit_code == 2 and "is not UTF-8" in ended.messages, ended.messages
