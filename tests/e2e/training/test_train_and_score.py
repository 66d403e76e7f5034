"""A new user's evening in small: sample, train on 40 studies, score with the new package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import diagchd_batch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STAGES = "[{name: everything, epochs: 1, batch_size: 32, learning_rate: 0.001}]"


def _call(directory: Path, *words: str, exit_code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "diagchd_batch", *words], cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


def _call_here(*words: str) -> Any:
    """Run a command that needs no Ray in this process."""
    done = diagchd_batch(*words)
    assert done.exit_code == 0, done.messages
    return json.loads(done.printed) if "--json" in words else done.printed


def test_a_package_that_was_trained_on_the_sample_scores_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _call(tmp_path, "sample", "mine", "--training-studies", "40")
    train = ("train", "mine/train.yaml", "--set", f"training.stages={STAGES}", "--json")
    trained = _call(tmp_path, *train)
    assert (trained["n_folds"], trained["repeated"]) == (2, False)
    assert _call_here(*train)["repeated"]
    (state,) = [one for one in _call_here("status", "mine/out-training", "--json") if one.get("kind")]
    assert state["status"] == "finished"
    assert all(fold["is_done"] for fold in state["folds"])
    held_out = trained["out_of_fold_run_id"]
    verified = _call_here("verify", "mine/out-training", "--json")
    assert json.dumps(held_out) in json.dumps(verified)
    assert _call_here("evaluate", "mine/out-training", "--json")
    _call_here("report", "mine/out-training")
    page = (tmp_path / "mine" / "out-training" / "reports" / f"run_id={held_out}" / "index.html").read_text()
    assert "Cross-validated in 2 folds: 40 studies" in page
    card = json.loads((tmp_path / "mine" / "package" / "card.json").read_text())
    assert len(card["weights"]) == 2
    assert card["training_data"]["simulated"]
    scored = _call(
        tmp_path, "submit", "mine/job.yaml", "--set", "model.name=mine/package", "--json", exit_code=3
    )  # one file of the sample is damaged on purpose
    assert scored["counts"]["n_ok"] == 121
