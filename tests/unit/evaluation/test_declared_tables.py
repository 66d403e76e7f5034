"""Every value of the metrics and comparison tables is as its column is declared."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.results.columns import SCHEMA_VERSION
from diagchd_batch.results.columns import comparison_tables as comparison
from diagchd_batch.results.columns import evaluation_tables as metrics
from diagchd_batch.results.columns.evaluation_tables import Columns
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy

KEPT = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output" / "metrics"
FIRST, SECOND = "aaaaaaaa-4e5f6071-1", "bbbbbbbb-4e5f6071-1"
COLUMNS: dict[str, Columns] = {
    "estimates": metrics.FIGURES,
    "comparisons": metrics.FIGURES,
    "study_results": metrics.STUDY_RESULTS,
    "reads": metrics.READS,
    "flow": metrics.FLOW,
    "cohort_characteristics": metrics.COHORT_CHARACTERISTICS,
    "cross_tabulation": metrics.CROSS_TABULATION,
    "curves": metrics.CURVES,
    "calibration": metrics.CALIBRATION,
    "abstention": metrics.ABSTENTION,
    "worst_cases": metrics.WORST_CASES,
    "subgroups": metrics.SUBGROUPS,
    "comparison_tests": metrics.FIGURES,
    "comparison_flips": comparison.FLIPS,
    "comparison_drift": comparison.DRIFT,
    "comparison_masks": metrics.FIGURES,
    "comparison_mask_cases": comparison.MASK_CASES,
    "comparison_flow": comparison.FLOW,
}
OF_EARLIER_VERSIONS = {("cohort_characteristics", "statistic"): {"minimum", "maximum"}}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate and compare two runs with readers, covariates, failures and studies without a label."""
    made = MadeOutput(tmp_path_factory.mktemp("declared"))
    labels = [1, 0, 1, 0, 1, 0, None, 1, 0, 0]
    for run_id, shift in ((FIRST, 0.0), (SECOND, 0.3)):
        studies = [
            MadeStudy(
                f"s{place}",
                [[FAILED if place == 7 and shift else (place / 10 + shift) % 1], [0.2]],
                label,
                subject_id=f"p{place // 2}",
                exclude_reason="no consent" if place == 9 else None,
            )
            for place, label in enumerate(labels)
        ]
        made.write_run(studies, run_id)
    reads = [
        {
            "study_id": f"s{place}",
            "reader": reader,
            "status": "indeterminate" if place == 3 and reader == "B" else "read",
            "call": None if place == 3 and reader == "B" else (place + len(reader) + (reader == "C")) % 2,
        }
        for place in range(9)
        for reader in ("A", "B", "C")
    ]
    covariates = [{"study_id": f"s{place}", "site": "ab"[place % 2], "bmi": 20 + place} for place in range(9)]
    config = EvaluationConfig(
        readers=made.table("readers", reads), covariates=made.table("covariates", covariates), resamples=100
    )
    for run_id in (FIRST, SECOND):
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, FIRST, SECOND, config, made.tokens)
    return Path(made.output.uri)


def problems(columns: Columns, table: pa.Table, name: str) -> Iterator[str]:
    for column in columns:
        if column.name not in table.column_names:
            continue
        values = table[column.name]
        assert values.type == column.type, column.name
        if not column.null_when and values.null_count:
            yield f"{name}.{column.name} has {values.null_count} nulls in {table.num_rows} rows"
        present = values.drop_null()
        if column.values:
            allowed = {*column.values, *OF_EARLIER_VERSIONS.get((name, column.name), ())}
            if others := set(present.unique().to_pylist()) - allowed:
                yield f"{name}.{column.name} also has {sorted(others)}"
        if len(present) and column.minimum is not None and pc.min(present).as_py() < column.minimum:
            yield f"{name}.{column.name} goes down to {pc.min(present)}"
        if len(present) and column.maximum is not None and pc.max(present).as_py() > column.maximum:
            yield f"{name}.{column.name} goes up to {pc.max(present)}"


def test_each_table_has_declarations() -> None:
    schemas = {**metrics.TABLES, **comparison.TABLES}
    assert set(COLUMNS) == set(schemas)
    for name, columns in COLUMNS.items():
        assert schemas[name].names == [column.name for column in columns]
        assert schemas[name].metadata[b"description"]
        for column in columns:
            assert column.description and not column.description.endswith("."), column.name
            assert column.since <= SCHEMA_VERSION


@pytest.mark.parametrize("name", metrics.TABLES)
def test_metrics_are_as_declared_and_files_say_what_they_mean(written: Path, name: str) -> None:
    tables = [pq.read_table(written / output_layout.metrics_file(run_id, name)) for run_id in (FIRST, SECOND)]
    kept = [pq.ParquetFile(path).read() for path in sorted(KEPT.rglob(f"{name}.parquet"))]
    assert kept or all(column.since > 1 for column in COLUMNS[name])
    assert [problem for table in [*tables, *kept] for problem in problems(COLUMNS[name], table, name)] == []
    assert_described(tables[0].schema, COLUMNS[name])


@pytest.mark.parametrize("name", comparison.TABLES)
def test_comparisons_are_as_declared_and_files_say_what_they_mean(written: Path, name: str) -> None:
    table = pq.read_table(written / output_layout.comparison_file(SECOND, FIRST, name))
    kept = [pq.ParquetFile(path).read() for path in sorted(KEPT.rglob(f"{name}.parquet"))]
    assert kept
    assert [problem for each in [table, *kept] for problem in problems(COLUMNS[name], each, name)] == []
    assert_described(table.schema, COLUMNS[name])


def assert_described(schema: pa.Schema, columns: Columns) -> None:
    assert schema.metadata[b"description"]
    assert schema.metadata[b"diagchd_batch.data"] == b"SIMULATED"
    for column in columns:
        assert schema.field(column.name).metadata[b"description"].decode() == column.description
