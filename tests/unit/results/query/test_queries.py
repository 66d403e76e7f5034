"""Every query of docs/queries.md gives, on evaluated runs, the answer that was found with pandas or by hand."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.failure_codes import REMEDIES
from diagchd_batch.results import open_output
from diagchd_batch.results.columns import SOURCES
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy
from tests.support.queries.queries_page import PAGE, file_statements, filled_in, statements

LATER = "aaaaaaaa-4e5f6071-1"
DIGEST = "abcdef" + "0" * 58
READERS = ("A", "B", "C")

# study: label, probabilities in the two runs, the readers' calls, site
STUDIES: dict[str, Any] = {
    "one": (1, 0.9, 0.8, (1, 1, 0), "north"),
    "two": (1, 0.6, 0.2, (0, 0, 1), "north"),
    "three": (0, 0.75, 0.1, (0, 0, 0), "south"),
    "four": (0, 0.2, 0.3, (0, 1, 0), "south"),
    "five": (1, 0.4, 0.9, (1, 1, 1), "north"),
    "six": (0, 0.1, 0.1, (0, 0, 0), "south"),
    "seven": (0, FAILED, 0.2, (0, 0, 0), "south"),
}
FLAGS = {"one": ["no_septum", "unsure"], "two": ["unsure"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    for place, run_id in enumerate((RUN_ID, LATER)):
        studies = [MadeStudy("left out", (), 1, exclude_reason="no consent")]
        for name, (label, *scores, _, _) in STUDIES.items():
            frame = scores[place]
            if not isinstance(frame, str):
                frame = {"chd_probability": frame, "quality_flags": FLAGS.get(name, [])}
            studies.append(MadeStudy(name, [[frame]], label, size=(600, 800) if name == "one" else (300, 400)))
        made.write_run(studies, run_id)
    record = read_private_run_record(made.private, LATER)
    model = record.model.model_copy(update={"name": "other", "weights_digest": DIGEST})
    write_run_record(made.output, made.private, record.model_copy(update={"model": model}))
    _write_sources(made)
    # The later reads contradict the first ones, so a query that counts reads as if they were readers is found out.
    reads = [
        {"study_id": name, "reader": reader, "session": session, "arm": arm, "status": "read", "call": call ^ again}
        for name, (*_, calls, _) in STUDIES.items()
        for reader, call in zip(READERS, calls, strict=True)
        for session, arm, again in (("2", "unaided", 0), ("10", "unaided", 1), ("1", "aided", 1))
    ]
    sites = [{"study_id": name, "site": site} for name, (*_, site) in STUDIES.items()]
    config = EvaluationConfig(
        readers=made.table("reads", reads), covariates=made.table("sites", sites), resamples=100, disclose=True
    )
    for run_id in (RUN_ID, LATER):
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, RUN_ID, LATER, config, made.tokens)
    return made


def _write_sources(made: MadeOutput) -> None:
    """Write the sources of three files, two of which are equal."""
    rows = [
        {"image_id": made.tokens.image(f"{name}/0.png"), "uri": f"{name}/0.png", "sha256": digest * 32}
        for name, digest in (("one", "1f"), ("two", "2e"), ("three", "1f"))
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SOURCES), buffer)
    made.private.replace(output_layout.sources_file(RUN_ID, 0, "a"), buffer.getvalue())


@pytest.fixture(scope="module")
def answer(made: MadeOutput) -> Callable[[str], pd.DataFrame]:
    database = open_query(open_output(made.output.uri), TABLES, comparisons=COMPARISON_TABLES)

    def run(name: str) -> pd.DataFrame:
        sql = filled_in(statements()[name], RUN_A=RUN_ID, RUN_B=LATER, STUDY="two", DIGEST="abcdef")
        return database.table(sql).to_pandas()

    return run


@pytest.fixture(scope="module")
def own_name(made: MadeOutput) -> dict[str, str]:
    return {made.tokens.study(name): name for name in (*STUDIES, "left out")}


def called(place: int, threshold: float = 0.5) -> dict[str, bool]:
    """Return study → the model's call in a run, without studies that failed."""
    return {name: row[1 + place] >= threshold for name, row in STUDIES.items() if not isinstance(row[1 + place], str)}


def test_the_page_has_a_check_for_each_query() -> None:
    checked = set(re.findall(r'answer\("(\w+)"\)', Path(__file__).read_text(encoding="utf-8")))
    assert set(statements()) == checked
    assert len(statements()) >= 10
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```sql") == len(statements()) + len(file_statements())


def test_results_and_frames(answer: Callable[[str], pd.DataFrame], own_name: dict[str, str]) -> None:
    found = answer("results_and_frames")
    assert {own_name[study] for study in found.study_id} == set(called(0))
    assert set(found.scored_by) == {RUN_ID}
    assert list(found.chd_probability) == pytest.approx(list(found.score))


def test_model_against_readers(answer: Callable[[str], pd.DataFrame], own_name: dict[str, str]) -> None:
    expected = {
        (name, reader)
        for name, positive in called(0).items()
        for reader, call in zip(READERS, STUDIES[name][3], strict=True)
        if positive and not call
    }
    found = answer("model_against_readers")
    assert {(own_name[row.study_id], row.reader) for row in found.itertuples()} == expected
    assert list(found.score) == sorted(found.score, reverse=True)


def test_flips(answer: Callable[[str], pd.DataFrame], own_name: dict[str, str]) -> None:
    before, now = called(0), called(1)
    expected = [name for name in before if before[name] != now[name]]
    found = answer("flips")
    assert [own_name[study] for study in found.study_id] == sorted(
        expected, key=lambda name: -abs(STUDIES[name][2] - STUDIES[name][1])
    )
    for row in found.itertuples():
        name = own_name[row.study_id]
        assert (row.call_before, row.call_now) == tuple("positive" if c[name] else "negative" for c in (before, now))


def test_flips_that_compare_kept(answer: Callable[[str], pd.DataFrame]) -> None:
    found, joined = answer("kept_flips"), answer("flips")
    assert len(found) > 0
    assert list(found.study_id) == list(joined.study_id)
    assert list(found.first_score) == pytest.approx(list(joined.score_before))
    assert list(found.second_call) == list(joined.call_now)


def test_failures(answer: Callable[[str], pd.DataFrame]) -> None:
    (row,) = answer("failures").to_dict("records")
    assert row == {"error_code": FAILED, "n_rows": 1, "n_studies": 1, "remedy": REMEDIES[FAILED]}  # type: ignore[index]


def test_studies_without_a_result(answer: Callable[[str], pd.DataFrame], own_name: dict[str, str]) -> None:
    found = answer("without_result")
    assert [(own_name[row.study_id], row.error_codes) for row in found.itertuples()] == [("seven", FAILED)]


def test_rows_by_weights(answer: Callable[[str], pd.DataFrame]) -> None:
    (row,) = answer("weights").to_dict("records")
    assert row == {"run_id": LATER, "model": "other", "precision": "float32", "n_rows": 7, "n_ok": 7}


def test_nothing_is_there_twice_and_a_doubled_row_would_be_found(
    made: MadeOutput, answer: Callable[[str], pd.DataFrame]
) -> None:
    assert answer("twice").empty
    key = output_layout.predictions_file(LATER, 0)
    before = made.output.read(key)
    table = pq.read_table(io.BytesIO(before))
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables([table, table.slice(2, 1)]), buffer)
    try:
        made.output.replace(key, buffer.getvalue())
        database = open_query(open_output(made.output.uri), TABLES)
        rows = database.table(statements()["twice"]).to_pylist()
    finally:
        made.output.replace(key, before)
    assert [row["run_id"] for row in rows] == [LATER, f"lineage of {LATER}"]
    assert {(row["image_id"], row["n_rows"]) for row in rows} == {(table["image_id"][2].as_py(), 2)}


def test_files_with_the_same_content(answer: Callable[[str], pd.DataFrame]) -> None:
    (row,) = answer("same_content").to_dict("records")
    assert row["sha256"] == "1f" * 32 and list(row["uris"]) == ["one/0.png", "three/0.png"]


def test_who_scored_a_study(answer: Callable[[str], pd.DataFrame]) -> None:
    found = answer("who_scored")
    assert list(found.run_id) == [RUN_ID, LATER]
    assert list(found.model) == ["made", "other"] and list(found.n_frames) == [1, 1]
    assert list(found.mean_probability.round(4)) == [0.6, 0.2]
    assert list(found.started_at) == [pd.Timestamp("2024-01-02 03:04")] * 2


def test_headline(answer: Callable[[str], pd.DataFrame]) -> None:
    found = answer("headline").set_index(["subject_kind", "subject"])
    calls = {("model", "made"): called(0)}
    calls |= {("reader", r): {name: bool(row[3][i]) for name, row in STUDIES.items()} for i, r in enumerate(READERS)}
    for subject, by_study in calls.items():
        counts = pd.crosstab(pd.Series({name: STUDIES[name][0] for name in by_study}), pd.Series(by_study)).reindex(
            index=[0, 1], columns=[False, True], fill_value=0
        )
        (tn, fp), (fn, tp) = counts.to_numpy()
        row = found.loc[subject]
        assert (row.tp, row.fp, row.fn, row.tn) == (tp, fp, fn, tn)
        assert row.recall == pytest.approx(tp / (tp + fn)) and row.specificity == pytest.approx(tn / (tn + fp))
        assert row.accuracy == pytest.approx((tp + tn) / len(by_study))
        assert row.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert list(found.index.get_level_values(0)) == ["model", "reader", "reader", "reader", "readers_mean", "majority"]


def test_differences(answer: Callable[[str], pd.DataFrame]) -> None:
    found = answer("differences")
    pair = found[(found.endpoint == "accuracy") & (found.comparator == "A")].iloc[0]
    both = called(0)
    model = sum(call == bool(STUDIES[name][0]) for name, call in both.items()) / len(both)
    reader = sum(bool(STUDIES[name][3][0]) == bool(STUDIES[name][0]) for name in both) / len(both)
    assert (pair.value, pair.comparator_value) == pytest.approx((model, reader))
    assert pair.difference == pytest.approx(model - reader) and pair.n_units == len(both)


def test_subgroups(answer: Callable[[str], pd.DataFrame]) -> None:
    found = answer("subgroups").set_index(["endpoint", "level"])
    for endpoint, label in (("sensitivity", 1), ("specificity", 0)):
        for site in ("north", "south"):
            own = [call == label for name, call in called(0).items() if STUDIES[name][::4] == (label, site)]
            row = found.loc[(endpoint, site)]
            assert row.value == pytest.approx(sum(own) / len(own)) if own else pd.isna(row.value)


def test_flags(answer: Callable[[str], pd.DataFrame]) -> None:
    found = {(row.source_resolution, row.flag): row.n_frames for row in answer("flags").itertuples()}
    assert found == {("600×800", "no_septum"): 1, ("600×800", "unsure"): 1, ("300×400", "unsure"): 1}


def test_other_thresholds(answer: Callable[[str], pd.DataFrame]) -> None:
    for row in answer("threshold").itertuples():
        positive = [name for name, call in called(0, float(row.threshold)).items() if call]
        assert row.n_positive == len(positive)
        assert row.tp == sum(STUDIES[name][0] for name in positive) and row.fp == len(positive) - row.tp


def test_disagreement(answer: Callable[[str], pd.DataFrame], own_name: dict[str, str]) -> None:
    expected = {name: sum(row[3]) for name, row in STUDIES.items() if 0 < sum(row[3]) < 3}
    found = {own_name[row.study_id]: row.n_positive for row in answer("disagreement").itertuples()}
    assert found == expected


def test_missed(answer: Callable[[str], pd.DataFrame]) -> None:
    expected = [name for name, call in called(0).items() if STUDIES[name][0] and not call]
    assert list(answer("missed").source_study_id) == expected


def test_excluded(answer: Callable[[str], pd.DataFrame]) -> None:
    (row,) = answer("excluded").to_dict("records")
    assert row["source_study_id"] == "left out" and list(row["exclude_reasons"]) == ["no consent"]
