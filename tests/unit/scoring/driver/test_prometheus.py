"""The metrics of a run are renewed as long as the run lives."""

from typing import Any
from unittest.mock import Mock

import pytest

from diagchd_batch.scoring.driver import prometheus
from diagchd_batch.scoring.liveness.progress_events import RunStart


class Gauge:
    """A stand-in for Ray's gauge, which Ray stops showing when it was not set for some time."""

    def __init__(self, name: str, *_: Any) -> None:
        self.values: list[float] = []
        GAUGES[name.removeprefix(prometheus.PREFIX)] = self

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tags == {"run": "r"}
        self.values.append(value)


GAUGES: dict[str, Gauge] = {}


def test_gauges_are_renewed_while_no_shard_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("Counter", "Histogram"):
        monkeypatch.setattr(prometheus, kind, Mock())
    monkeypatch.setattr(prometheus, "Gauge", Gauge)
    progress = prometheus.MeasuredProgress(Mock())
    progress.started(RunStart("r", n_images=80, n_shards=10, done_images=24, done_shards=3, resumed=True))
    for _ in range(2):
        progress.workers(4)
    assert GAUGES["shards_left"].values == [7, 7, 7]
    assert GAUGES["workers"].values == [4, 4]
