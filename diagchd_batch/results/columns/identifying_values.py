"""The columns of `identifying_values`: what files say about patients. Identified; never outside the private tree."""

import pyarrow as pa

from diagchd_batch.results.columns.declaration import Column, Presence, arrow_schema

_TEXT = pa.string()

IDENTIFYING_COLUMNS = (
    Column("study_id", _TEXT, "token of the study whose files hold the value", Presence.ALWAYS, nullable=False,
           repeats=True),
    Column("kind", _TEXT, "where it stood: a DICOM keyword, or a name such as EXIF Artist", Presence.ALWAYS,
           nullable=False, repeats=True),
    Column("value", _TEXT, "the value", Presence.ALWAYS, nullable=False),
)  # fmt: skip

IDENTIFYING_VALUES = arrow_schema(IDENTIFYING_COLUMNS)
"""One row for each different value of each study in a shard."""
