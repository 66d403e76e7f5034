"""The patterns of the output's layout recognise the keys that it writes."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diagchd_batch
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
    (layout.RUN_TABLE_FILE, layout.run_table_file, {"run_id": RUN}),
    (layout.LINEAGE_FILE, layout.lineage_file, {"run_id": RUN}),
    (layout.SUPERSEDED_FILE, layout.superseded_file, {"run_id": RUN}),
    (layout.RUN_RECORD, layout.run_record, {"run_id": RUN}),
    (layout.DELETION_NOTE, layout.deletion_note, {"number": 12}),
    (layout.PLAN_HEAD, layout.plan_head, {"run_id": RUN}),
    (layout.PLAN_PART, layout.plan_part, {"run_id": RUN, "plan_digest": "d" * 16, "part": 3}),
    (layout.PLAN_STUDIES, layout.plan_studies, {"run_id": RUN, "plan_digest": "d" * 16}),
    (layout.SOURCES_FILE, layout.sources_file, {"run_id": RUN, "shard": 7, "attempt": "a-1.b"}),
    (
        layout.IDENTIFYING_VALUES_FILE,
        layout.identifying_values_file,
        {"run_id": RUN, "shard": 7, "attempt": "a-1.b"},
    ),
    (layout.ATTEMPT_MARKER, layout.attempt_marker, {"run_id": RUN, "shard": 7, "attempt": "a-1.b", "state": "open"}),
    (layout.ATTEMPT_MARKER, layout.attempt_marker, {"run_id": RUN, "shard": 7, "attempt": "a", "state": "closed"}),
    (layout.HEARTBEAT_FILE, layout.heartbeat_file, {"run_id": RUN, "name": "worker-a-1.b"}),
    (layout.HEADER_INDEX_HEAD, layout.header_index_head, {"number": 12}),
    (layout.HEADER_INDEX_PART, layout.header_index_part, {"build": "0a1b2c3d4e5f6071", "part": 3}),
    (layout.LOG_PART, layout.log_part, {"run_id": RUN, "name": "0123-a", "part": 12}),
]
OTHER_PATTERNS = {layout.RUN_DIRECTORY, layout.NODE_MARK}
PATTERNS = [value for value in vars(layout).values() if isinstance(value, re.Pattern) and value not in OTHER_PATTERNS]


@pytest.mark.parametrize("pattern, key_of, arguments", KEYS)
def test_a_pattern_recognises_its_keys_and_no_other(
    pattern: re.Pattern[str], key_of: Callable[..., str], arguments: dict[str, Any]
) -> None:
    key = key_of(**arguments)
    match = pattern.fullmatch(key)
    assert {
        name: int(value) if name in ("shard", "part", "number") else value for name, value in match.groupdict().items()
    } == (arguments)
    assert [other for other in PATTERNS if other.fullmatch(key)] == [pattern]
    altered_keys = [f"{key}.tmp", f"copy/{key}", f"{key}\n"]
    if "run_id" in key:
        assert layout.RUN_DIRECTORY.fullmatch(key)["run_id"] == RUN
        altered_keys.append(key.replace("run_id=", "run="))
    for altered in altered_keys:
        assert not pattern.fullmatch(altered)


def test_marks_of_nodes_are_recognised_also_those_of_earlier_versions() -> None:
    key = layout.node_mark("v1.5", "0a1b2c3d")
    for mark in (key, key.replace("_node", "node")):
        assert layout.NODE_MARK.fullmatch(mark).groupdict() == {"run_id": "v1.5", "submission": "0a1b2c3d"}
        assert not [pattern for pattern in PATTERNS if pattern.fullmatch(mark)]
    assert not layout.NODE_MARK.fullmatch(f"{key}.tmp")


def test_every_pattern_has_an_example() -> None:
    assert {pattern for pattern, _, _ in KEYS} == set(PATTERNS)


@pytest.mark.parametrize("number", ["1", "0007", "000007", "0123456", "12345 (1)"])
def test_no_other_spelling_of_a_number_counts(number: str) -> None:
    assert not layout.SHARD_FILE.fullmatch(f"scores/run_id={RUN}/shard-{number}.parquet")
    assert not layout.PREDICTIONS_FILE.fullmatch(f"predictions/run_id={RUN}/part-{number}.parquet")


PARTS_OF_KEYS = re.compile(
    r"(run_id|compare_to)=[^-]*$|(^|/)(shard|part|shareable)-|(open|closed)\\?\.json"
    r"|^/?(scores|predictions|metrics|runs|reports|attempts|heartbeats|logs|sources|nodes|faults|stop|submitted)/"
    r"|^(_SUCCESS|_?node-mark\.|id_key|input_root\.json|(plan|run|identity)\.json|(studies|reads)\.parquet)"
    r"|^\.(json|log|txt)$"
)
"""What a text has that makes a key, recognises one or takes one apart."""


KNOWS_KEYS = ("output_layout.py", "file_kinds.py")


def _texts(path: Path) -> list[str]:
    """Return the texts of a module, and those between the braces of its f-strings, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_no_other_module_spells_a_pattern_of_keys() -> None:
    package = Path(diagchd_batch.__file__).parent
    assert any(map(PARTS_OF_KEYS.search, _texts(package / "output_layout.py")))
    found = {
        str(path.relative_to(package)): texts
        for path in package.rglob("*.py")
        if path.name not in KNOWS_KEYS and (texts := list(filter(PARTS_OF_KEYS.search, _texts(path))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        'key.endswith(".open.json")',
        'OPEN, CLOSED = ".open.json", ".closed.json"',
        'prefixes = [f"{prefix}run_id={run_id}/" for run_id in run_ids]',
        'name = f"part-{part:05d}.parquet"',
        'pattern = re.compile(r"scores/run_id=(.+)/shard-(.+)")',
        'names = [key.removesuffix(".json") for key in keys]',
        'marker = f"runs/{run}/_SUCCESS"',
        'STUDIES_FILE = "studies.parquet"',
    ],
)
def test_spellings_of_keys_are_found(tmp_path: Path, code: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(f'"""A docstring may name `scores/run_id=R/shard-00000.parquet`."""\n{code}\n')
    assert any(map(PARTS_OF_KEYS.search, _texts(module)))


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
