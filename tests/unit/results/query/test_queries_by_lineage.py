"""The queries of docs/queries.md on a lineage with an increment, a retry and a withdrawn label.

All expected answers were worked out by hand from the table below.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.results import open_output
from diagchd_batch.results.columns import SOURCES
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from tests.support.evaluated_runs import MadeOutput, MadeStudy
from tests.support.queries.queries_page import file_statements, filled_in, pandas_blocks, statements

OTHER_DIGEST = "abcdef" + "0" * 58


def frame(probability: float, *flags: str) -> list[dict[str, Any]]:
    return [{"chd_probability": probability, "quality_flags": list(flags)}]


FAILED, FAILED_AGAIN = ["decode_error"], ["too_large"]

# Run by run, in the order of the lineage: each study with the frames of its images, its label, and why it is excluded.
LINEAGE: dict[str, list[MadeStudy]] = {
    "first": [
        MadeStudy("one", [frame(0.9, "no_septum")], 1),
        MadeStudy("two", [frame(0.6)], 1),
        MadeStudy("three", [FAILED], 0),
        MadeStudy("four", [frame(0.2)], 0),
        MadeStudy("five", [FAILED], 1),
        MadeStudy("six", [frame(0.1), FAILED], 0),
        MadeStudy("seven", (), 0, exclude_reason="another view"),
        MadeStudy("gone", (), 1, exclude_reason="no consent"),
    ],
    # A file of study one was sent again, study seven is included now, and study eight is new.
    "increment": [
        MadeStudy("one", [frame(0.72, "unsure")], 1),
        MadeStudy("seven", [frame(0.4)], 0),
        MadeStudy("eight", [frame(0.35)], 1),
    ],
    # The files that failed: study five fails again. The first image of study six is not scored again.
    "retry": [
        MadeStudy("three", [frame(0.75)], 0),
        MadeStudy("five", [FAILED_AGAIN], 1),
        MadeStudy("six", [[], frame(0.3, "unsure")], 0),
    ],
    # The label of study two is withdrawn, and study four is excluded. There is nothing to score.
    "corrected": [
        MadeStudy("two", (), None),
        MadeStudy("four", (), 0, exclude_reason="consent withdrawn"),
    ],
}
# Another model scored everything that the lineage has.
OTHER = [
    MadeStudy("one", [frame(0.2)], 1),
    MadeStudy("two", [frame(0.6)], 1),
    MadeStudy("three", [frame(0.9)], 0),
    MadeStudy("four", [frame(0.2)], 0),
    MadeStudy("five", [frame(0.8)], 1),
    MadeStudy("six", [frame(0.1), frame(0.1)], 0),
    MadeStudy("seven", [frame(0.6)], 0),
    MadeStudy("eight", [frame(0.8)], 1),
]
NORTH = {"one", "two", "five", "eight"}
CALLS = {
    "A": {"one": 1, "two": 0, "three": 0, "five": 1, "six": 0, "seven": 0, "eight": 0},
    "B": {"one": 0, "two": 1, "three": 0, "five": 1, "six": 0, "seven": 0, "eight": 0},
    "C": {"one": 1, "two": 0, "three": 0, "five": 1, "six": 0, "seven": 0, "eight": 1},
}
DIGESTS = {
    ("first", "one"): "1f",
    ("first", "two"): "2e",
    ("first", "four"): "1f",
    ("increment", "one"): "3d",
    ("increment", "eight"): "2e",
}
# The run that scored what counts in the lineage of run `corrected`: study, number of the image, run, probability.
COUNTING = {
    ("one", 0, "increment", 0.72),
    ("two", 0, "first", 0.6),
    ("three", 0, "retry", 0.75),
    ("four", 0, "first", 0.2),
    ("five", 0, "retry", None),
    ("six", 0, "first", 0.1),
    ("six", 1, "retry", 0.3),
    ("seven", 0, "increment", 0.4),
    ("eight", 0, "increment", 0.35),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    parent = None
    for run_id, studies in LINEAGE.items():
        parent = made.write_run(studies, run_id, parent)
    made.write_run(OTHER, "other")
    record = read_private_run_record(made.private, "other")
    model = record.model.model_copy(update={"name": "other", "weights_digest": OTHER_DIGEST})
    write_run_record(made.output, made.private, record.model_copy(update={"model": model}))
    for run_id in {run_id for run_id, _ in DIGESTS}:
        _write_sources(made, run_id)
    reads = [
        {"study_id": study, "reader": reader, "status": "read", "call": call}
        for reader, calls in CALLS.items()
        for study, call in calls.items()
    ]
    studies = {study.study_id for run in (*LINEAGE.values(), OTHER) for study in run}
    sites = [{"study_id": name, "site": "north" if name in NORTH else "south"} for name in sorted(studies)]
    config = EvaluationConfig(
        readers=made.table("reads", reads), covariates=made.table("sites", sites), resamples=100, disclose=True
    )
    for run_id in (*LINEAGE, "other"):
        write_lineage_tables(made.output, run_id)
    for run_id in ("corrected", "other"):
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, "corrected", "other", config, made.tokens)
    return made


def _write_sources(made: MadeOutput, run_id: str) -> None:
    rows = [
        {"image_id": made.tokens.image(f"{study}/0.png"), "uri": f"{study}/0.png", "sha256": digest * 32}
        for (run, study), digest in DIGESTS.items()
        if run == run_id
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SOURCES), buffer)
    made.private.replace(output_layout.sources_file(run_id, 0, "a"), buffer.getvalue())


@pytest.fixture(scope="module")
def answer(made: MadeOutput) -> Callable[..., list[tuple[Any, ...]]]:
    """Return a function that runs a query of the page and returns the rows. Tokens of studies become their own ids."""
    database = open_query(open_output(made.output.uri), TABLES, comparisons=COMPARISON_TABLES)
    names = {made.tokens.study(study.study_id): study.study_id for run in (*LINEAGE.values(), OTHER) for study in run}

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return round(value, 4) if isinstance(value, float) else names.get(value, value)

    def run(name: str, *columns: str, run_id: str = "corrected", digest: str = "abcdef") -> list[tuple[Any, ...]]:
        sql = filled_in(statements()[name], RUN_A=run_id, RUN_B="other", STUDY="six", DIGEST=digest)
        rows = database.table(sql).to_pylist()
        return [tuple(cell(row[column]) for column in columns or row) for row in rows]

    return run


Answer = Callable[..., list[tuple[Any, ...]]]


def test_every_query_of_the_page_is_checked_here() -> None:
    import re

    checked = re.findall(r'answer\(\s*"(\w+)"', Path(__file__).read_text(encoding="utf-8"))
    assert set(statements()) == set(checked)


def test_results_and_frames(answer: Answer) -> None:
    analysed = {"one", "three", "six", "seven", "eight"}
    found = answer("results_and_frames", "study_id", "scored_by", "chd_probability")
    expected = {(study, run, probability) for study, _, run, probability in COUNTING if study in analysed}
    assert len(found) == len(expected) == 6 and set(found) == expected


def test_model_against_readers(answer: Answer) -> None:
    found = answer("model_against_readers", "study_id", "reader", "reference_label")
    assert found == [
        *[("three", "A", 0), ("three", "B", 0), ("three", "C", 0)],
        *[("one", "B", 1), ("two", "A", None), ("two", "C", None)],
    ]


def test_flips(answer: Answer) -> None:
    assert answer("flips", "study_id", "score_before", "score_now", "call_before", "call_now") == [
        ("one", 0.72, 0.2, "positive", "negative"),
        ("eight", 0.35, 0.8, "negative", "positive"),
        ("seven", 0.4, 0.6, "negative", "positive"),
    ]


def test_flips_that_compare_kept(answer: Answer) -> None:
    assert answer("kept_flips", "study_id", "first_score", "second_score", "second_call", "second_is_right") == [
        ("one", 0.72, 0.2, "negative", False),
        ("eight", 0.35, 0.8, "positive", True),
        ("seven", 0.4, 0.6, "positive", False),
    ]


def test_failures(answer: Answer) -> None:
    columns = ("error_code", "n_rows", "n_studies")
    assert answer("failures", *columns) == [("too_large", 1, 1)]
    assert answer("failures", *columns, run_id="increment") == [("decode_error", 3, 3)]
    assert all(row[-1] for row in answer("failures"))


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [
        ("first", {("three", "decode_error"), ("five", "decode_error")}),
        ("increment", {("three", "decode_error"), ("five", "decode_error")}),
        ("retry", {("five", "too_large")}),
        ("corrected", {("five", "too_large")}),
        ("other", set()),
    ],
)
def test_studies_without_any_result(answer: Answer, run_id: str, expected: set[tuple[str, str]]) -> None:
    assert set(answer("without_result", run_id=run_id)) == expected


def test_rows_by_weights(answer: Answer) -> None:
    assert answer("weights") == [("other", "other", "float32", 9, 9)]
    assert answer("weights", "run_id", "n_rows", "n_ok", digest="eeee") == [
        ("first", 7, 4),
        ("increment", 3, 3),
        ("retry", 3, 2),
    ]


def test_nothing_is_there_twice(answer: Answer) -> None:
    assert answer("twice") == []


def test_files_with_the_same_content(answer: Answer) -> None:
    """Studies one and four had the same file until that of study one was sent again."""
    assert answer("same_content") == [("2e" * 32, 2, ("eight/0.png", "two/0.png"))]
    assert answer("same_content", run_id="first") == [("1f" * 32, 2, ("four/0.png", "one/0.png"))]


def test_who_scored_a_study(answer: Answer) -> None:
    found = answer("who_scored", "run_id", "model", "n_frames", "mean_probability")
    assert found == [("first", "made", 1, 0.1), ("other", "other", 2, 0.1), ("retry", "made", 1, 0.3)]


def test_headline(answer: Answer) -> None:
    columns = ("subject", "tp", "fp", "fn", "tn", "recall", "specificity", "precision", "npv", "accuracy", "f1")
    rows = {row[0]: row[1:] for row in answer("headline", *columns)}
    assert rows["made"] == (1, 1, 1, 2, 0.5, 0.6667, 0.5, 0.6667, 0.6, 0.5)
    assert rows["A"] == (2, 0, 1, 3, 0.6667, 1.0, 1.0, 0.75, 0.8333, 0.8)


def test_differences(answer: Answer) -> None:
    found = answer("differences", "endpoint", "comparator", "value", "comparator_value", "difference", "n_units")
    assert ("accuracy", "A", 0.6, 0.8, -0.2, 5) in found


def test_subgroups(answer: Answer) -> None:
    found = answer("subgroups", "endpoint", "level", "value", "numerator", "denominator")
    assert ("sensitivity", "north", 0.5, 1, 2) in found
    assert ("specificity", "south", 0.6667, 2, 3) in found


def test_flags(answer: Answer) -> None:
    """The flag of the file that was sent again counts no longer."""
    assert answer("flags") == [("300×400", "unsure", 2)]
    assert answer("flags", run_id="first") == [("300×400", "no_septum", 1)]


def test_thresholds(answer: Answer) -> None:
    found = answer("threshold")
    assert [tuple(float(value) for value in row) for row in found] == [(0.3, 4, 2, 2), (0.5, 2, 1, 1), (0.7, 2, 1, 1)]


def test_disagreement(answer: Answer) -> None:
    assert set(answer("disagreement")) == {("one", 2, 1), ("two", 1, 2), ("eight", 1, 2)}


def test_missed(answer: Answer) -> None:
    assert answer("missed") == [("eight", 0.35)]


def test_excluded(answer: Answer) -> None:
    assert answer("excluded") == [("four", ("consent withdrawn",)), ("gone", ("no consent",))]
    assert answer("excluded", run_id="first") == [("gone", ("no consent",)), ("seven", ("another view",))]


def _with_duckdb(made: MadeOutput, name: str, run_id: str) -> list[dict[str, Any]]:
    """Run a statement of the page in a DuckDB whose tables are the directories of the output."""
    root = made.output.uri
    with duckdb.connect() as connection:
        for table, files in {"predictions": "*/*", "lineages": "*", "superseded": "*"}.items():
            connection.execute(f"CREATE VIEW {table} AS FROM '{root}/{table}/{files}.parquet'")
        return connection.sql(filled_in(file_statements()[name], RUN_A=run_id)).to_arrow_table().to_pylist()


def _with_pandas(made: MadeOutput, name: str, run_id: str) -> list[dict[str, Any]]:
    variables: dict[str, Any] = {}
    exec(filled_in(pandas_blocks()[name], OUTPUT=made.output.uri, RUN_A=run_id), variables)
    return variables["counting"].to_dict("records")


def _with_our_reader(made: MadeOutput, name: str, run_id: str) -> list[dict[str, Any]]:
    assert name == "counting"
    return open_output(made.output.uri).current_predictions(run_id).to_pylist()


@pytest.mark.parametrize("read", [_with_duckdb, _with_pandas, _with_our_reader])
def test_every_engine_finds_the_rows_that_count(made: MadeOutput, read: Callable[..., list[dict[str, Any]]]) -> None:
    images = {
        made.tokens.image(f"{study}/{place}.png"): (study, place)
        for study in {row[0] for row in COUNTING}
        for place in (0, 1)
    }
    found = [
        (*images[row["image_id"]], row["run_id"], round(row["chd_probability"], 4))
        if not pd.isna(row["chd_probability"])
        else (*images[row["image_id"]], row["run_id"], None)
        for row in read(made, "counting", "corrected")
    ]
    assert len(found) == len(COUNTING) and set(found) == COUNTING


def test_the_newest_lineages_of_the_files(made: MadeOutput) -> None:
    assert {row["run_id"] for row in _with_duckdb(made, "newest", "")} == {"corrected", "other"}
