"""The check of a source before work begins."""

import itertools

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.source import Source

_OBJECTS_TRIED = 20


def check_readable(source: Source) -> None:
    """Check that a source exists, can be listed, and does not refuse every object.

    The first objects of the listing are tried until one can be read. An empty source passes.

    Raises:
        StorageFault: The source cannot be listed, or access to each of the objects that were tried is denied.
    """
    source.probe()
    codes = []
    for info in itertools.islice(source.list(), _OBJECTS_TRIED):
        try:
            source.read_range(info.key, 0, 1)
            return
        except ItemError as error:
            codes.append(error.code)
    if codes and all(code is FailureCode.ACCESS_DENIED for code in codes):
        raise StorageFault(
            f"{source.place} can be listed but not read ({len(codes)} of {len(codes)} files are refused): "
            "grant read permission (on S3: s3:GetObject)"
        )
