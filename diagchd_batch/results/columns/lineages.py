"""The columns of `lineages` and `superseded`, which say which predictions count, to any engine that can join.

The rows that count in the lineage that ends with run R are the predictions of its runs, without those that one of its
runs superseded. A row that a run supersedes never counts again in a lineage that has that run. Each supersession is
therefore stored once, in the file of the run that brought it, however many runs follow.
"""

import pyarrow as pa

from diagchd_batch.results.columns.declaration import Column, Presence, arrow_schema

_TEXT, _NUMBER = pa.string(), pa.int32()

WHOLE_FILE = -1
"""`frame_key` of a file that failed as a whole, whose `frame` is null. Most engines do not join null with null."""

LINEAGE_COLUMNS = (
    Column("lineage", _TEXT, "the lineage, by the id of its newest run", Presence.ALWAYS, since=2),
    Column("run_id", _TEXT, "a run of it", Presence.ALWAYS, since=2),
    Column("generation", _NUMBER, "the run's place in it; 0: the oldest run", Presence.ALWAYS, minimum=0, since=2),
    Column("n_generations", _NUMBER, "number of runs in it", Presence.ALWAYS, minimum=1, since=2),
)
"""`lineages/R.parquet`: the runs of the lineage that ends with run R. Every finished run ends a lineage."""

SUPERSEDED_COLUMNS = (
    Column("superseded_by", _TEXT, "run since which the row does not count", Presence.ALWAYS, repeats=True, since=2),
    Column("run_id", _TEXT, "run of the row", Presence.ALWAYS, repeats=True, since=2),
    Column("image_id", _TEXT, "token of the image file of the row", Presence.ALWAYS, since=2),
    Column("frame_key", _NUMBER, "frame of the row; -1: its `frame` is null, because the file failed as a whole",
           Presence.ALWAYS, repeats=True, minimum=WHOLE_FILE, since=2),
)  # fmt: skip
"""`superseded/R.parquet`: the predictions that count in no lineage with run R. They may be rows of R itself."""

LINEAGES = arrow_schema(LINEAGE_COLUMNS)
SUPERSEDED = arrow_schema(SUPERSEDED_COLUMNS)
