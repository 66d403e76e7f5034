"""Where images are read from: `open_source(uri)` returns a `Source`, whatever the scheme of the URI."""

from diagchd_batch.sources.registry import SourceOptions, open_source
from diagchd_batch.sources.source import FrameSource, HeaderSource, ListingGaps, ObjectInfo, Source, VersionedRanges

__all__ = [
    "FrameSource",
    "HeaderSource",
    "ListingGaps",
    "ObjectInfo",
    "Source",
    "SourceOptions",
    "VersionedRanges",
    "open_source",
]
