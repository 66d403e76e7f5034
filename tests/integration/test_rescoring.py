"""`verify --rescore` tells equal scores, different scores, and files that are gone or have changed apart."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.results import open_output
from diagchd_batch.runs import rescore as rescoring
from tests.integration.test_output_of_f4f89d0 import KEY, copied
from tests.support.command_line import diagchd_batch


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIAGCHD_ID_KEY", KEY)
    directory = copied(tmp_path / "kept")
    # The weights that were bundled then lie beside the output. Those of today would not be the same scoring.
    record = directory / "output" / "private" / "runs" / "run_id=first" / "run.json"
    weights = json.dumps(str(directory / "weights.h5"))
    record.write_text(record.read_text().replace('"weights": "bundled"', f'"weights": {weights}'))
    monkeypatch.chdir(directory)
    return directory


class OtherModel:
    """A model that gives every frame the same score."""

    def __init__(self, spec: Any, batch_size: int, intra_op_threads: int) -> None:
        self.spec, self.batch_size = spec, batch_size

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        masks = np.zeros(images_bhwc_u8.shape[:3], np.uint8)
        nothing = np.zeros(self.batch_size, np.float32)
        return Prediction(masks, np.full(self.batch_size, 0.75, np.float32), nothing, nothing)


@pytest.mark.slow
def test_the_same_model_gives_the_same_scores(kept: Path) -> None:
    # In a process of its own, since TensorFlow may run in this one with another number of threads.
    command = [
        sys.executable,
        "-m",
        "diagchd_batch",
        "verify",
        "output",
        "--rescore",
        "3",
        "--run-id",
        "first",
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    # Another kind of processor may change the last bits.
    assert (found["n_sampled"], found["n_equal"] + found["n_close"]) == (3, 3)
    assert found["different"] == found["unusable"] == []


def test_different_scores_and_changed_files_are_told_apart(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = sorted((kept / "archive" / "images").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[1].read_bytes() + b"\0")
    defaults = {**(rescoring.rescore.__kwdefaults__ or {}), "load_model": OtherModel}
    monkeypatch.setattr(rescoring.rescore, "__kwdefaults__", defaults)
    ended = diagchd_batch("verify", "output", "--rescore", "1000", "--run-id", "first")
    assert ended.exit_code == 1
    lines = ended.printed.splitlines()
    assert sum("different score: image i-" in line for line in lines) > 0
    assert sum("the file is gone" in line for line in lines) == 1
    assert sum("other bytes than those that were scored" in line for line in lines) == 1
    assert "±0.0001" in lines[0]


def test_other_weights_than_those_of_the_run_are_refused(kept: Path) -> None:
    record = kept / "output" / "private" / "runs" / "run_id=first" / "run.json"
    record.write_text(record.read_text().replace(json.dumps(str(kept / "weights.h5")), '"bundled"'))
    ended = diagchd_batch("verify", "output", "--rescore", "2", "--run-id", "first")
    assert ended.exit_code == 1
    assert "use the weights and the version of this program that the run was scored with" in ended.messages


def test_a_seed_draws_the_same_frames_and_a_file_that_is_gone_is_no_different_score(kept: Path) -> None:
    for picture in (kept / "archive" / "images").iterdir():
        picture.unlink()
    drawn = []
    for seed in (1, 1, 2):
        result = rescoring.rescore(open_output("output"), 4, "first", seed=seed)
        assert result.ok and result.n_sampled == 4
        drawn.append({(one.image_id, one.frame) for one in result.unusable})
    assert drawn[0] == drawn[1] != drawn[2]
    assert diagchd_batch("verify", "output", "--rescore", "2", "--run-id", "first").exit_code == 3
