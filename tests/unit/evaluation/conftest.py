"""Fixtures for the tests of metrics tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary, evaluate_run
from tests.support.evaluated_runs import RUN_ID, MadeOutput


@pytest.fixture
def made(tmp_path: Path) -> MadeOutput:
    return MadeOutput(tmp_path)


@pytest.fixture
def evaluate() -> Callable[..., EvaluationSummary]:
    """Return a function that evaluates a made-up run with few resamples."""

    def run(made: MadeOutput, run_id: str = RUN_ID, **config: Any) -> EvaluationSummary:
        settings = EvaluationConfig(**{"resamples": 200, **config})
        return evaluate_run(made.output, made.private, run_id, settings, made.tokens)

    return run
