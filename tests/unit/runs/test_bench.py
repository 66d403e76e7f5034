"""The settings that `bench` suggests, and what `bench --feed` measures."""

import math

import numpy as np
import pytest

from diagchd_batch.images.quality import FRAGMENTS, quality_flags
from diagchd_batch.model.benchmark_against_keras import PrecisionFigures, PredictorBenchmark
from diagchd_batch.runs import feed_benchmark
from diagchd_batch.runs.bench import Throughput, suggest_settings
from diagchd_batch.runs.feed_benchmark import made_label_map


def _suggest(*, model: float, decode_per_core: float, cores: int) -> dict[str, str]:
    precision = PrecisionFigures(model, 1.0, 1.0, 1.0, 0.0)
    predictor = PredictorBenchmark("diagchd", "CPU", 16, model, {"float32": precision, "bfloat16": precision})
    throughput = Throughput(16, 100, decode_per_core, model, 500.0, model * 0.9)
    return suggest_settings(predictor, throughput, cores)


@pytest.mark.parametrize(
    ("model", "decode_per_core", "cores_needed"),
    [(41.0, 20.0, 3), (44.0, 20.0, 3), (59.9, 20.0, 3), (60.0, 20.0, 3), (60.1, 20.0, 4), (21.0, 20.0, 2)],
)
def test_cores_for_decoding_are_rounded_up(model: float, decode_per_core: float, cores_needed: int) -> None:
    """With fewer cores the model would have to wait for decoding, which the suggestion should prevent."""
    suggestions = _suggest(model=model, decode_per_core=decode_per_core, cores=1)
    assert f"cluster.cpus_per_actor={cores_needed}" in suggestions
    assert cores_needed * decode_per_core >= model


def test_no_cores_are_suggested_if_the_machine_has_enough() -> None:
    suggestions = _suggest(model=40.0, decode_per_core=20.0, cores=2)
    assert not any(name.startswith("cluster.cpus_per_actor") for name in suggestions)


def test_every_step_and_every_rate_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_benchmark, "BATCH_SIZES", (2,))
    monkeypatch.setattr(feed_benchmark, "available_cores", lambda: 1)
    said: list[str] = []
    measured = feed_benchmark.run_feed_benchmark("diagchd-compact", 2, said.append)
    assert all(math.isfinite(milliseconds) and milliseconds >= 0 for milliseconds in measured.step_ms.values())
    assert list(measured.step_ms) == [
        "read and decode",
        "batch",
        "quality flags",
        "mask to PNG",
        "rest of the row",
        "Parquet",
    ]
    assert [(rate.decoder_threads, rate.batch_size) for rate in measured.rates] == [(1, 2)]
    assert all(rate.images_per_s > 0 and rate.processor_ms > 0 for rate in measured.rates)
    assert len(said) == 1 + len(measured.rates)


def test_made_hearts_have_the_classes_and_pieces_that_they_name() -> None:
    one, two = made_label_map(96, 128, 1), made_label_map(96, 128, 2)
    assert set(np.unique(one)) == {0, 1, 2}
    assert FRAGMENTS not in quality_flags(one, 0.9)
    assert np.count_nonzero(two) > np.count_nonzero(one)
