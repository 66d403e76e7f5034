"""`export` and `query` from bucket to bucket give the same results as from directory to directory."""

import csv
import io
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.storage import Store, open_store
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

pytestmark = pytest.mark.s3


@pytest.fixture
def output(s3_uri: str, tmp_path: Path) -> tuple[Store, str]:
    """Return the store of a run on S3, and the path of the same run on a disk."""
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy(f"study {i}", [[0.1 + 0.02 * i]], int(i > 15)) for i in range(40)])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    bucket = open_store(f"{s3_uri}/output")
    for info in made.output.list():
        bucket.replace(info.key, made.output.read(info.key))
    return bucket, made.output.uri


def test_exports_from_s3_to_s3_are_those_of_a_disk(output: tuple[Store, str], s3_uri: str, tmp_path: Path) -> None:
    bucket, directory = output
    for source, place in ((bucket.uri, f"{s3_uri}/shared"), (directory, str(tmp_path / "shared"))):
        ended = diagchd_batch("export", "shareable", source, place, "--run-id", RUN_ID)
        assert ended.exit_code == 0, ended.messages
    on_s3, on_disk = (
        {info.key: storage.read(info.key) for info in storage.list()}
        for storage in (open_store(f"{s3_uri}/shared"), open_store(str(tmp_path / "shared")))
    )
    assert on_s3 == on_disk and len(on_s3) > 5

    ended = diagchd_batch("export", "worklist", bucket.uri, "--run-id", RUN_ID)
    assert ended.exit_code == 0, ended.messages
    key = f"{output_layout.PRIVATE}/{output_layout.worklist_prefix(RUN_ID)}worklist.csv"
    first, *_ = csv.DictReader(io.StringIO(bucket.read(key).decode("utf-8-sig")))
    assert first["study_id"] == "study 39"

    refused = diagchd_batch("export", "worklist", bucket.uri, f"{bucket.uri}/list", "--run-id", RUN_ID)
    assert refused.exit_code == 2 and "part of the output" in refused.messages
    refused = diagchd_batch("export", "worklist", directory, f"{s3_uri}/shared/list", "--run-id", RUN_ID)
    assert refused.exit_code == 2 and "given away" in refused.messages
    refused = diagchd_batch("export", "worklist", directory, f"{bucket.uri}/list", "--run-id", RUN_ID)
    assert refused.exit_code == 2 and "lies in the output" in refused.messages


def test_queries_on_s3(output: tuple[Store, str]) -> None:
    bucket, _ = output
    ended = diagchd_batch("query", bucket.uri, "SELECT count(*) AS n FROM predictions JOIN studies USING (study_id)")
    assert ended.exit_code == 0 and "40" in ended.printed, ended.messages
    ended = diagchd_batch("query", bucket.uri, "SELECT * FROM 's3://other/secret.parquet'")
    assert ended.exit_code == 2
