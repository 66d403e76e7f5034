"""The columns of `lineages` and `superseded`, which say which predictions count, to any engine that can join.

The rows that count in the lineage that ends with run R are the predictions of its runs, without those that one of its
runs superseded. A row that a run supersedes never counts again in a lineage that has that run. Each supersession is
therefore stored once, in the file of the run that brought it, however many runs follow.
"""

import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DeclaredColumn, arrow_schema

_TEXT, _NUMBER = pa.string(), pa.int32()

WHOLE_FILE = -1
"""`frame_key` of a file that failed as a whole, whose `frame` is null. Most engines do not join null with null."""

LINEAGE_COLUMNS = (
    DeclaredColumn("lineage", _TEXT, "the lineage, by the id of its newest run", since=2),
    DeclaredColumn("run_id", _TEXT, "a run of it", since=2),
    DeclaredColumn("generation", _NUMBER, "the run's place in it, the oldest run being 0", minimum=0, since=2),
    DeclaredColumn("n_generations", _NUMBER, "number of runs in it", minimum=1, since=2),
)
"""`lineages/R.parquet`: the runs of the lineage that ends with run R. Every finished run ends a lineage."""

SUPERSEDED_COLUMNS = (
    DeclaredColumn("superseded_by", _TEXT, "the run since which the row does not count", since=2),
    DeclaredColumn("run_id", _TEXT, "the run of the row", since=2),
    DeclaredColumn("image_id", _TEXT, "token of the image file of the row", since=2),
    DeclaredColumn(
        "frame_key", _NUMBER, "`frame` of the row, or -1 for a file that failed as a whole", minimum=WHOLE_FILE, since=2
    ),
)
"""`superseded/R.parquet`: the predictions that count in no lineage with run R. They may be rows of R itself."""

LINEAGES = arrow_schema(LINEAGE_COLUMNS)
SUPERSEDED = arrow_schema(SUPERSEDED_COLUMNS)
