"""The patterns of the output's layout recognise the keys that it writes."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from diagchd_batch import output_layout as layout
from diagchd_batch.errors import UsageError

RUN = "0a1b2c3d-4e5f6071-1"

KEYS = [
    (layout.SHARD_FILE, layout.shard_file, {"run_id": RUN, "shard": 7}),
    (layout.SHARD_FILE, layout.shard_file, {"run_id": RUN, "shard": 123_456}),
    (layout.PREDICTIONS_FILE, layout.predictions_file, {"run_id": RUN, "part": 0}),
    (layout.METRICS_FILE, layout.metrics_file, {"run_id": RUN, "table": "estimates"}),
    (layout.COMPARISON_FILE, layout.comparison_file, {"run_id": RUN, "other_run_id": "b", "table": "drift"}),
    (layout.METRICS_FILE_V1, layout.metrics_file_v1, {"run_id": RUN, "table": "estimates"}),
    (layout.COMPARISON_FILE_V1, layout.comparison_file_v1, {"run_id": RUN, "other_run_id": "b", "table": "drift"}),
    (layout.RUN_RECORD, layout.run_record, {"run_id": RUN}),
    (layout.PLAN_HEAD, layout.plan_head, {"run_id": RUN}),
    (layout.PLAN_PART, layout.plan_part, {"run_id": RUN, "plan_digest": "d" * 16, "part": 3}),
    (layout.PLAN_STUDIES, layout.plan_studies, {"run_id": RUN, "plan_digest": "d" * 16}),
    (layout.SOURCES_FILE, layout.sources_file, {"run_id": RUN, "shard": 7, "attempt": "a-1.b"}),
]
PATTERNS = [value for value in vars(layout).values() if isinstance(value, re.Pattern) and value != layout.RUN_DIRECTORY]


@pytest.mark.parametrize("pattern, key_of, arguments", KEYS)
def test_a_pattern_recognises_its_keys_and_no_other(
    pattern: re.Pattern[str], key_of: Callable[..., str], arguments: dict[str, Any]
) -> None:
    key = key_of(**arguments)
    match = pattern.fullmatch(key)
    assert {name: int(value) if name in ("shard", "part") else value for name, value in match.groupdict().items()} == (
        arguments
    )
    assert [other for other in PATTERNS if other.fullmatch(key)] == [pattern]
    assert layout.RUN_DIRECTORY.fullmatch(key)["run_id"] == RUN
    for altered in (f"{key}.tmp", f"copy/{key}", key.replace("run_id=", "run="), f"{key}\n"):
        assert not pattern.fullmatch(altered)


def test_every_pattern_has_an_example() -> None:
    assert {pattern for pattern, _, _ in KEYS} == set(PATTERNS)


@pytest.mark.parametrize("number", ["1", "0007", "000007", "0123456", "12345 (1)"])
def test_no_other_spelling_of_a_number_counts(number: str) -> None:
    assert not layout.SHARD_FILE.fullmatch(f"scores/run_id={RUN}/shard-{number}.parquet")
    assert not layout.PREDICTIONS_FILE.fullmatch(f"predictions/run_id={RUN}/part-{number}.parquet")


def test_no_other_module_spells_a_pattern_of_keys() -> None:
    from pathlib import Path

    import diagchd_batch

    spelled = re.compile(r"run_id=\(|compare_to=\(|(shard|part)-\(\?|(shard|part)-\{output_layout")
    package = Path(diagchd_batch.__file__).parent
    found = [path for path in package.rglob("*.py") if spelled.search(path.read_text(encoding="utf-8"))]
    assert found == [package / "output_layout.py"]


@pytest.mark.parametrize(
    "run_id",
    ["../../x", "..", ".", "", "a/b", "/etc", "-x", "a b", "a\n", "a\0", "\x1b[2J", "é", "x" * 81, "x" * 100_000],
)
def test_no_key_is_made_of_a_text_that_is_no_run_id(run_id: str) -> None:
    makers = [
        value
        for value in vars(layout).values()
        if inspect.isfunction(value) and "run_id" in inspect.signature(value).parameters
    ]
    assert len(makers) > 20
    for make in makers:
        names = inspect.signature(make).parameters
        arguments = {name: 1 if name in ("shard", "part") else "a" for name in names} | {"run_id": run_id}
        with pytest.raises(UsageError, match="is no run id") as caught:
            make(**arguments)
        assert len(str(caught.value)) < 400
    with pytest.raises(UsageError, match="is no run id"):
        layout.comparison_file(RUN, run_id, "drift")
    if "/" not in run_id:
        assert not layout.RUN_RECORD.fullmatch(f"runs/run_id={run_id}/run.json")
