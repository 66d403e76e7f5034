"""Shared figures about the readers as a group reveal neither small groups of studies nor single counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.exports.shareable import SHARED_TABLES, shareable_tables
from tests.support.evaluated_runs import MadeOutput, MadeStudy

N, N_DISEASED, MIN_CELL = 300, 110, 10
LABEL = (np.arange(N) < N_DISEASED).astype(int)


def draw_calls(rng: np.random.Generator) -> np.ndarray:
    return np.where(LABEL == 1, rng.random(N) < 0.8, rng.random(N) < 0.25).astype(int)


def shared(root: Path, model: np.ndarray, arms: dict[str, np.ndarray]) -> dict[str, list[dict[str, Any]]]:
    """Return the shared tables of complete reads.

    Args:
        root: Where to write the run.
        model: [studies], the model's calls.
        arms: Arm → [studies, readers], the readers' calls.
    """
    made = MadeOutput(root)
    reads = [
        {"study_id": f"s{n}", "reader": f"r{j}", "session": arm, "arm": arm, "status": "read", "call": int(call)}
        for arm, calls in arms.items()
        for (n, j), call in np.ndenumerate(calls)
    ]
    run_id = made.write_run([MadeStudy(f"s{n}", [[0.2 + 0.6 * model[n]]], int(LABEL[n])) for n in range(N)])
    config = EvaluationConfig(readers=made.table("readers", reads), resamples=100)
    evaluate_run(made.output, made.private, run_id, config, made.tokens)
    return shareable_tables({name: made.metrics(name) for name in SHARED_TABLES}, MIN_CELL)[0]


def percent_agreement(tables: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return group → percent agreement."""
    return {
        row["subject"]: row["value"]
        for row in tables["estimates"]
        if row["subject_kind"] == "readers" and row["endpoint"] == "percent_agreement"
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n_apart", "is_shared"), [(3, False), (60, True)])
def test_few_studies_on_which_three_readers_disagree_are_not_told(
    tmp_path: Path, seed: int, n_apart: int, is_shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    calls = np.repeat(draw_calls(rng)[:, np.newaxis], 3, axis=1)
    apart = rng.choice(N, n_apart, replace=False)
    calls[apart, rng.integers(0, 3, n_apart)] ^= 1
    tables = shared(tmp_path, draw_calls(rng), {"unaided": calls})
    found = percent_agreement(tables)
    assert ("readers" in found) == is_shared
    if is_shared:  # An attacker computes this, because two of three pairs disagree on each study without a consensus.
        assert round(1.5 * N * (1 - found["readers"])) == n_apart


def test_readers_alone_and_with_the_model_do_not_tell_where_the_model_differs_from_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    calls = np.stack([draw_calls(rng)] * 3, axis=1)
    model = calls[:, 0].copy()
    model[[4, 200]] ^= 1  # This gives 6 disagreements with readers who all agree.
    found = percent_agreement(shared(tmp_path, model, {"unaided": calls}))
    assert "readers" in found and "readers_and_model" not in found


def test_the_mean_of_an_arm_does_not_tell_the_one_reader_whose_count_is_withheld(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    unaided, aided = (np.stack([draw_calls(rng) for _ in range(3)], axis=1) for _ in range(2))
    unaided[:N_DISEASED, 0] = 1
    unaided[:4, 0] = 0  # This reader misses 4 studies.
    tables = shared(tmp_path, draw_calls(rng), {"unaided": unaided, "aided": aided})
    shown = {row["endpoint"] for row in tables["comparisons"] if row["family"] == "arms"}
    assert shown == {"specificity"}
