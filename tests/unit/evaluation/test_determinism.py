"""The same run gives the same bytes, and a large run takes seconds."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from diagchd_batch.results.columns.evaluation_tables import TABLES
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy


def metrics_bytes(made: MadeOutput, run_id: str = RUN_ID) -> dict[str, str]:
    return {
        name: hashlib.sha256(
            (Path(made.output.uri) / output_layout.metrics_file(run_id, name)).read_bytes()
        ).hexdigest()
        for name in TABLES
    }


def test_the_same_run_gives_the_same_bytes(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    rng = np.random.default_rng(4)
    studies = [
        MadeStudy(f"{i}", [[float(p)] for p in rng.random(rng.integers(1, 4))], int(rng.random() < 0.5), f"{i // 2}")
        for i in range(80)
    ]
    made.write_run(studies)
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": int(rng.random() < 0.5), "score": rng.random()}
        for i in range(80)
        for reader in "abc"
    ]
    readers = made.table("readers", reads)
    evaluate(made, readers=readers)
    first = metrics_bytes(made)
    key = Path(made.output.uri) / output_layout.predictions_file(RUN_ID, 0)
    table = pq.read_table(key, partitioning=None)
    pq.write_table(table.take(rng.permutation(table.num_rows)), key)  # the order of rows must not matter
    evaluate(made, readers=readers)
    assert metrics_bytes(made) == first


@pytest.mark.parametrize(
    ("n", "most_seconds"), [(5_000, 12), pytest.param(40_000, 60, marks=pytest.mark.slow)], ids=["12,500", "100,000"]
)
def test_rows_of_frames_take_seconds(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary], n: int, most_seconds: float
) -> None:
    rng = np.random.default_rng(8)
    labels = (rng.random(n) < 0.05).astype(int)
    studies = [
        MadeStudy(
            f"{i}", [[float(p)] for p in np.clip(rng.normal(0.2 + 0.4 * y, 0.2, 1 + i % 4), 0, 1)], int(y), f"{i // 2}"
        )
        for i, y in enumerate(labels)
    ]
    made.write_run(studies)
    began = time.process_time()
    summary = evaluate(made)
    assert time.process_time() - began < most_seconds
    assert summary.n_rows["study_results"] == n
