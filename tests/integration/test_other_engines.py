"""The lines of docs/other_engines.md that the page calls tested, on two runs, an increment, a comparison and failures.

Engines that are no dependency are tested with -m slow. Where one is not installed its test is skipped, or fails if the
environment variable REQUIRE_ENGINES is set, as in `.ci/run`. Engines that need other versions than this package run in
the interpreter that ENGINES_APART names, which has what tests/support/queries/engines_apart.txt lists.
"""

import importlib.util
import io
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.results import open_output
from diagchd_batch.results.columns import add_run, with_run
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.query.database import open_query
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy
from tests.support.queries.engines_apart import engines_apart, missing_engine
from tests.support.queries.queries_page import filled_in

PAGE = Path(__file__).parents[2] / "docs" / "other_engines.md"
BLOCKS = dict(re.findall(r"<!-- engine: (\w+) -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
R_BLOCKS = dict(
    re.findall(r"<!-- engine: ([\w ]+) -->\n```(?:bash|r)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
OPTIONAL = ("fastparquet", "polars", "datafusion", "chdb", "daft", "ray")
APART = ("daft", "ray")
"""Engines that run in a process of their own. Ray has this interpreter, daft that of `ENGINES_APART`."""

_KEEP_RESULTS = """
import os, pathlib, pickle

def rows(value):
    if hasattr(value, "to_arrow"):  # daft
        return value.to_arrow().to_pylist()
    return value.take_all() if hasattr(value, "take_all") else value  # Ray Data

names = ("predictions", "counts", "current", "joined", "masks", "pictures")
found = {name: rows(globals()[name]) for name in names if name in globals()}
pathlib.Path(FILE).write_bytes(pickle.dumps(found))
if "ray" not in globals():
    os._exit(0)  # threads of daft can crash the interpreter's end
"""

FIRST, INCREMENT, OTHER = "first", "increment", "2026-other"
COLUMNS = ("run_id", "subject_id", "study_id", "image_id", "frame", "status", "error_code", "chd_probability")

Row = Mapping[str, Any]


def scored(probability: float, class_number: int) -> Row:
    """Return a frame whose mask tells it from all others."""
    mask = np.zeros((4, 5), np.uint8)
    mask[0, :3] = class_number
    mask[3, class_number] = 2
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG")
    return {"chd_probability": probability, "quality_flags": ["unsure"], "mask_png": png.getvalue()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("engines"))
    clip = [scored(0.25, 1), scored(0.375, 2)]
    first = [MadeStudy("a", [[scored(0.875, 0)]], 1), MadeStudy("b", [[FAILED]], 0), MadeStudy("c", [clip], 0)]
    made.write_run(first, FIRST)
    made.write_run([MadeStudy("b", [[scored(0.5, 1)]], 0), MadeStudy("d", [[FAILED]], 1)], INCREMENT, FIRST)
    made.write_run([MadeStudy("a", [[scored(0.125, 2)]], 1), MadeStudy("b", [[scored(0.75, 0)]], 0)], OTHER)
    for path in [*made.root.glob("output/predictions/*/*.parquet"), *made.root.glob("output/scores/*/*.parquet")]:
        table = pq.read_table(path, partitioning=None)
        pq.write_table(add_run(table, with_run(table.schema)), path)  # as `submit` writes them
    config = EvaluationConfig(resamples=100)
    for run_id in (FIRST, INCREMENT, OTHER):
        write_lineage_tables(made.output, run_id)
    for run_id in (INCREMENT, OTHER):
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, INCREMENT, OTHER, config, made.tokens)
    return made


def arrow_rows(result: Any) -> list[Row]:
    table = result if isinstance(result, pa.Table) else result.to_arrow_table()
    if "mask_png" in table.column_names:
        table = table.set_column(
            table.column_names.index("mask_png"), "mask_png", table["mask_png"].cast("binary")
        )  # ClickHouse calls bytes text
    return [row if "run_id" in row else row | {"run_id": row["run"]} for row in table.to_pylist()]


READERS: dict[str, Callable[[Any], list[Row]]] = {
    "pandas": lambda frame: frame.to_dict("records"),
    "fastparquet": lambda frame: frame.to_dict("records"),
    "polars": lambda frame: frame.to_dicts(),
    "duckdb": arrow_rows,
    "datafusion": arrow_rows,
    "chdb": arrow_rows,
    "daft": list,
    "ray": lambda rows: [{"run_id": row["run"], **row, "size": row.get("count()")} for row in rows],
}


R_PROGRAM = """
numbers <- function(values) format(values, digits = 17)
writeLines(c(
  paste(counts$run_id, counts$study_id, counts$status, counts$size),
  paste("joined", joined$run_id, joined$image_id, joined$frame, numbers(joined$score), joined$call),
  paste("current", current$run_id, current$image_id, current$frame, current$status),
  vapply(pictures, function(mask) paste("mask", paste(t(mask), collapse = "")), "")
), "found.txt")
"""


def engine(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow) if name in OPTIONAL else name


def plain(value: Any) -> Any:
    """Return a value as Python has it: pandas says NaN for null."""
    if value is None or value != value:
        return None
    return value.decode() if isinstance(value, bytes) else value


def picked(rows: list[Row], *columns: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(plain(row[column]) for column in columns) for row in rows)


def test_the_page_has_a_block_for_each_engine() -> None:
    assert set(BLOCKS) == {"decode", *READERS}


def run_lines(name: str, output: str, directory: Path) -> dict[str, Any]:
    """Run the page's lines of an engine and return the variables that they set."""
    found: dict[str, Any] = {}
    exec(BLOCKS["decode"], found)
    lines = filled_in(BLOCKS[name], OUTPUT=output, RUN_A=INCREMENT)
    if name not in APART:
        exec(lines, found)
        return found
    kept = directory / "found.pickle"
    python = engines_apart() if name == "daft" else sys.executable
    program = BLOCKS["decode"] + lines + _KEEP_RESULTS.replace("FILE", repr(str(kept)))
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, env=environment, cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]
    return found | pickle.loads(kept.read_bytes())


@pytest.mark.parametrize("name", map(engine, READERS))
def test_the_lines_of_an_engine_give_what_our_own_reader_gives(made: MadeOutput, name: str, tmp_path: Path) -> None:
    if name not in APART and importlib.util.find_spec(name) is None:
        missing_engine(name, "install '.[test-engines]'")
    found = run_lines(name, made.output.uri, tmp_path)
    rows_of = READERS[name]
    output = open_output(made.output.uri)
    own = output.predictions().to_table().to_pylist()
    assert picked(rows_of(found["predictions"]), *COLUMNS) == picked(own, *COLUMNS)

    counts = {
        tuple(plain(row[column]) for column in ("run_id", "study_id", "status")): row["size"]
        for row in rows_of(found["counts"])
    }
    assert counts == picked(own, "run_id", "study_id", "status")

    masks = {(row["run_id"], row["image_id"], plain(row["frame"])): row["mask_png"] for row in rows_of(found["masks"])}
    assert set(masks) == {(row["run_id"], row["image_id"], row["frame"]) for row in own}
    scored_rows = [row for row in own if row["status"] == "ok"]
    assert sum(png is not None for png in masks.values()) == len(scored_rows) == 6
    for row in scored_rows:
        expected = output.mask(row["image_id"], row["frame"], run_id=row["run_id"])
        decoded = found["decode"](masks[row["run_id"], row["image_id"], row["frame"]])
        np.testing.assert_array_equal(decoded, expected)
    if name == "fastparquet":  # its part of the page opens tables, and goes on as with pandas
        return
    if name == "ray":  # its rows that count are taken with another engine
        found["pictures"] = [row["mask"] for row in found["pictures"]]
    pictures = Counter(picture.tobytes() for picture in found["pictures"])
    assert pictures == Counter(
        output.mask(row["image_id"], row["frame"], run_id=row["run_id"]).tobytes() for row in scored_rows
    )
    if name == "ray":
        return

    current = output.current_predictions(INCREMENT).to_pylist()
    assert len(current) == 5 and {row["run_id"] for row in current} == {FIRST, INCREMENT}
    assert picked(rows_of(found["current"]), *COLUMNS) == picked(current, *COLUMNS)

    database = open_query(output, TABLES, comparisons=COMPARISON_TABLES)
    joined = database.table(
        "SELECT p.*, score, call FROM lineage_predictions AS p "
        "JOIN study_results AS r ON r.run_id = p.lineage AND r.study_id = p.study_id "
        f"WHERE lineage = '{INCREMENT}' AND operating_point = 'default'"
    ).to_pylist()
    assert len(joined) == 5
    assert picked(rows_of(found["joined"]), *COLUMNS, "score", "call") == picked(joined, *COLUMNS, "score", "call")


@pytest.mark.slow
def test_the_lines_of_r_give_what_our_own_reader_gives(made: MadeOutput, tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        missing_engine("R", "install the packages r-base-core, r-cran-base64enc and r-cran-png")
    for line in filled_in(R_BLOCKS["shell for R"], OUTPUT=made.output.uri, RUN_A=INCREMENT).splitlines():
        _, *arguments = shlex.split(line)
        done = diagchd_batch(*arguments[:-1], str(tmp_path / arguments[-1]))
        assert done.exit_code == 0, done.messages
    script = tmp_path / "lines.R"
    script.write_text(R_BLOCKS["R"] + R_PROGRAM)
    ran = subprocess.run(["Rscript", "--vanilla", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = Counter((tmp_path / "found.txt").read_text().splitlines())

    output = open_output(made.output.uri)
    own = output.predictions().to_table().to_pylist()
    expected = Counter(
        f"{run_id} {study_id} {status} {size}"
        for (run_id, study_id, status), size in picked(own, "run_id", "study_id", "status").items()
    )
    for row in output.current_predictions(INCREMENT).to_pylist():
        frame = "NA" if row["frame"] is None else row["frame"]
        expected[f"current {row['run_id']} {row['image_id']} {frame} {row['status']}"] += 1
    for row in own:
        if row["status"] == "ok":
            mask = output.mask(row["image_id"], row["frame"], run_id=row["run_id"])
            expected["mask " + "".join(map(str, mask.ravel()))] += 1
    joined = [line for line in found if line.startswith("joined")]
    assert len(joined) == 5
    assert Counter({line: n for line, n in found.items() if line not in joined}) == expected
    database = open_query(output, TABLES, comparisons=COMPARISON_TABLES)
    scores = database.table(
        "SELECT image_id, score FROM lineage_predictions AS p JOIN study_results AS r USING (study_id) "
        f"WHERE r.run_id = '{INCREMENT}' AND lineage = '{INCREMENT}' AND operating_point = 'default'"
    ).to_pylist()
    assert {(line.split()[2], float(line.split()[4].replace("NA", "nan"))) for line in joined if "NA" not in line} == {
        (row["image_id"], row["score"]) for row in scores if row["score"] is not None
    }
