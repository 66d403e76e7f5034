"""Which class reads which URI scheme. A new kind of source is one module and one line in `SOURCES`."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.sources.source import Source
from diagchd_batch.uris import normalize_uri, scheme_of
from diagchd_batch.wording import shortened

if TYPE_CHECKING:
    from diagchd_batch.sources.request_permits import RequestLimit

SOURCES: dict[str, str] = {
    "file": "diagchd_batch.sources.local.source:LocalSource",
    "s3": "diagchd_batch.sources.s3.source:S3Source",
    "dicomweb+https": "diagchd_batch.sources.dicomweb.source:DicomwebSource",
    "dicomweb+http": "diagchd_batch.sources.dicomweb.source:DicomwebSource",
}
"""The class of each scheme, as ``module:class``.

A class is imported when its scheme is first opened, because boto3 takes long to import. It is called with the
normalised URI and `SourceOptions`, and must implement `Source`.
"""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        object_timeout_s: Seconds for which the transient failures of one object are retried.
        max_connections: Largest number of requests at the same time from one process. Local disks ignore it.
        dicomweb: How a PACS may be read. Other sources ignore it.
        request_limit: What the requests to a PACS share with other processes; None for a limit of this source alone.
    """

    object_timeout_s: float = 300.0
    max_connections: int = 32
    dicomweb: DicomwebConfig = field(default_factory=DicomwebConfig)
    request_limit: "RequestLimit | None" = None


def open_source(
    uri: str,
    *,
    object_timeout_s: float = 300.0,
    max_connections: int = 32,
    dicomweb: DicomwebConfig = DicomwebConfig(),
    request_limit: "RequestLimit | None" = None,
) -> Source:
    """Return the source at `uri`. Nothing is contacted before the source is used.

    Args:
        uri: A path, ``file:///directory``, ``s3://bucket/prefix`` or ``dicomweb+https://host/path?filters``.
        object_timeout_s: Seconds for which the transient failures of one object are retried.
        max_connections: Largest number of requests at the same time from one process. Local disks ignore it.
        dicomweb: How a PACS may be read (`input.dicomweb`). Other sources ignore it.
        request_limit: What the requests to a PACS share with other processes; None for a limit of this source alone.

    Raises:
        ConfigError: The URI is malformed, or no source is registered for its scheme.
    """
    uri = normalize_uri(uri)
    return class_for(uri, SOURCES)(uri, SourceOptions(object_timeout_s, max_connections, dicomweb, request_limit))


def class_for(uri: str, registry: Mapping[str, str]) -> Any:
    """Import and return the class that is registered for the scheme of a URI.

    Args:
        uri: A normalised URI, or a path.
        registry: Scheme → dotted path of the class.

    Raises:
        ConfigError: The scheme is not registered.
    """
    path = registry.get(scheme_of(uri))
    if path is None:
        known = ", ".join(f"{scheme}://" for scheme in registry)
        raise ConfigError(
            f"{shortened(uri, 300)!r}: {shortened(scheme_of(uri), 40)}:// is not supported here; write a path, or "
            f"a URI with {known}"
        )
    return pkgutil.resolve_name(path)
