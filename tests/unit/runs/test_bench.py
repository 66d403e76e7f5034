"""The settings that `bench` suggests."""

import pytest

from diagchd_batch.model.benchmark_against_keras import PrecisionFigures, PredictorBenchmark
from diagchd_batch.runs.bench import Throughput, suggest_settings


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
