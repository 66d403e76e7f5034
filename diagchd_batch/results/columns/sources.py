"""The columns of `sources`: which file each image was read from. Identified; never outside the private tree."""

import pyarrow as pa

from diagchd_batch.results.columns.declaration import Column, Presence, arrow_schema

_TEXT = pa.string()

DIGEST_OF_FILE = "file"
DIGEST_OF_FRAMES = "frames"

SOURCE_COLUMNS = (
    Column("image_id", _TEXT, "token of the image file", Presence.ALWAYS, nullable=False),
    Column("uri", _TEXT, "where the file was read", Presence.ALWAYS, nullable=False),
    Column("sha256", _TEXT, "SHA-256 of what `digest_of` names, as it was read", Presence.WHERE_KNOWN),
    Column("mask_uri", _TEXT, "where the reference mask was read", Presence.WHERE_KNOWN),
    Column("mask_sha256", _TEXT, "SHA-256 of the reference mask as it was read", Presence.WHERE_KNOWN),
    Column("error", _TEXT, "full text of the error, which may name files", Presence.WHERE_KNOWN),
    Column(
        "digest_of",
        _TEXT,
        "what `sha256` was computed of: `file`, or `frames` if only a part of the file was read: "
        "the stored bytes of its chosen frames, in order",
        Presence.WHERE_KNOWN,
        since=3,
    ),
)

SOURCES = arrow_schema(SOURCE_COLUMNS)
