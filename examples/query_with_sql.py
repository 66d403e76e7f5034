"""Ask an output with SQL: through its views, and with plain DuckDB on its Parquet files.

python examples/query_with_sql.py out/sample
"""

import argparse

import duckdb

from diagchd_batch.results import open_output

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", help="a local output directory")
arguments = parser.parse_args()

# The views are those of `diagchd-batch query`; `diagchd-batch query --columns VIEW` shows what their columns mean.
output = open_output(arguments.output)
print("Studies that the model missed or called wrongly:")
wrong = """
    SELECT study_id, round(score, 3) AS score, call, reference_label
    FROM study_results
    WHERE operating_point = 'default' AND (call = 'positive') <> (reference_label = 1)
    ORDER BY abs(score - 0.5) DESC, study_id
    LIMIT 5
"""
print(output.query(wrong).to_pandas().to_string(index=False))

# The files are ordinary Parquet with Hive partitions, so any tool that reads Parquet can read them.
print("\nFrames by source resolution, read without this package:")
with duckdb.connect() as connection:
    files = f"{arguments.output}/predictions/*/*.parquet"
    connection.sql(
        f"""
        SELECT source_height, source_width, count(*) AS n_frames, round(avg(chd_probability), 3) AS mean_probability
        FROM read_parquet('{files}', hive_partitioning = true)
        WHERE status = 'ok'
        GROUP BY ALL ORDER BY n_frames DESC, source_height, source_width
        """
    ).show()
