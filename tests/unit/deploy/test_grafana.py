"""The dashboard uses only metrics that exist. The tests on a cluster check that Ray's endpoint exports them."""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest

from diagchd_batch.scoring.driver import prometheus

DASHBOARD = json.loads((Path(__file__).parents[3] / "deploy" / "grafana" / "diagchd-batch.json").read_text())
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}


class Recorder:
    """A stand-in for Ray's metric classes that records the exported names."""

    names: ClassVar[set[str]] = set()

    def __init__(self, name: str, *_: Any) -> None:
        Recorder.names |= {f"ray_{name}{suffix}" for suffix in SUFFIXES[type(self).__name__]}


def test_its_queries_name_only_metrics_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in SUFFIXES:
        monkeypatch.setattr(prometheus, kind, type(kind, (Recorder,), {}))
    prometheus.MeasuredProgress(None)
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    queries += [entry["query"]["query"] for entry in DASHBOARD["templating"]["list"] if entry["type"] == "query"]
    named = {name for query in queries for name in re.findall(r"ray_\w+", query)}
    assert len(named) >= 8
    assert named <= Recorder.names


def test_panels_do_not_overlap() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
