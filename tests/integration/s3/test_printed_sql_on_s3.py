"""The statements of `query s3://… --print-sql` in a DuckDB of one's own give the rows that `query` has."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from diagchd_batch.results import open_output
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.query.database import open_query
from diagchd_batch.storage import open_store
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy
from tests.support.queries.engines_apart import engines_apart

pytestmark = [pytest.mark.s3, pytest.mark.slow]

VIEWS = ("predictions", "failures", "runs", "lineages", "current", "masks")

PROGRAM = """
import json, os, sys
from urllib.parse import urlsplit
import duckdb
from duckdb_extensions import import_extension

import_extension("httpfs")
connection = duckdb.connect()
connection.execute("LOAD httpfs")
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc
server = f"ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false"
connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', {server})")
connection.execute(sys.stdin.read())
print(json.dumps({view: connection.sql(f"SELECT count(*) FROM {view}").fetchone()[0] for view in sys.argv[1:]}))
"""


def test_views_in_s3_have_the_rows_of_query(s3_uri: str, tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.9, 0.3]], 1), MadeStudy("b", [[FAILED]], 0)], "1-a")
    made.write_run([MadeStudy("b", [[0.4]], 0), MadeStudy("d", [[FAILED]], 1)], "1-b", "1-a")
    for run_id in ("1-a", "1-b"):
        write_lineage_tables(made.output, run_id)
    local, bucket = open_store(made.output.uri), open_store(f"{s3_uri}/out")
    for info in local.list():
        bucket.create(info.key, local.read(info.key))

    printed = diagchd_batch("query", bucket.uri, "--print-sql")
    assert printed.exit_code == 0, printed.messages
    done = subprocess.run(
        [engines_apart(), "-c", PROGRAM, *VIEWS],
        input=printed.printed,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    own = open_query(open_output(bucket.uri), TABLES, comparisons=COMPARISON_TABLES)
    expected = {view: own.table(f"SELECT count(*) AS n FROM {view}").to_pylist()[0]["n"] for view in VIEWS}
    assert json.loads(done.stdout) == expected
    assert expected["current"] == 4  # two frames of a, b once more, d
