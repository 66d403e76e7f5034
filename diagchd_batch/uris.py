"""URIs of sources and stores, and the relative keys of the objects below them."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from diagchd_batch.errors import ConfigError
from diagchd_batch.wording import shortened

_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[\x21-\x7e]+")
"""A bucket's name, or the resource name of an access point. Other servers allow more letters and lengths than AWS."""

DICOMWEB_SCHEMES = ("dicomweb+https", "dicomweb+http")
"""The schemes of DICOMweb servers. Only their URIs have a query, which filters the studies."""


def normalize_uri(uri: str) -> str:
    """Return the one form of a URI that is used everywhere.

    Whether a source or a store is known for the URI's scheme is checked when it is opened.

    Args:
        uri: A path, ``file:///directory``, or a URI such as ``s3://bucket/prefix``. A relative path is taken from the
            working directory, so normalise it before it is sent to another machine.

    Returns:
        An absolute path for local files, else ``scheme://host[/path]``; without a slash at the end. A DICOMweb URI
        keeps its query, in the order of its keys.

    Raises:
        ConfigError: The URI is empty, names no bucket or host, has a ``.`` or ``..`` part, or holds a user, a password
            or a query that it must not have. The message does not show them.
    """
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ConfigError(
                f"{shortened(uri, 300)!r} is not an absolute file URI; write file:///directory or just the path"
            )
        # `?` and `#` split a URL but are ordinary characters of a path that was not percent-encoded.
        uri = unquote(uri.removeprefix("file:").removeprefix("//").removeprefix("localhost"))
    elif remote := _REMOTE.fullmatch(uri):
        scheme, location = remote.groups()
        if scheme.lower() in DICOMWEB_SCHEMES:
            return _normalize_dicomweb_uri(scheme.lower(), location)
        host, _, path = location.partition("/")
        path, scheme = path.rstrip("/"), scheme.lower()
        if set(host) & set("@?#"):
            raise ConfigError(
                f"a URI that begins with {scheme}:// holds a user, a password or a query: write {scheme}://bucket or "
                f"{scheme}://bucket/prefix, and give credentials in the environment (AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            )
        if not host or (path and not is_key(path)):
            raise ConfigError(
                f"{shortened(uri, 300)!r} is not a complete URI; write {scheme}://bucket or {scheme}://bucket/prefix"
            )
        if scheme == "s3" and not _BUCKET.fullmatch(host):
            raise ConfigError(
                f"{shortened(host, 300)!r} is no name of an S3 bucket, because it has a space or a character that "
                "no bucket has; names have letters, digits, dots and hyphens: write s3://bucket or s3://bucket/prefix "
                "(a space in the prefix is allowed)"
            )
        return f"{scheme}://{host}/{path}".rstrip("/")
    if not uri or "\0" in uri:
        raise ConfigError("an empty URI names no place; write a directory or s3://bucket/prefix")
    return str(expand_home(uri).absolute())


def start_of(path: str) -> str:
    """Return the words that say where a relative path starts, for a message after the path; '' for other places.

    Args:
        path: A path as the user wrote it.
    """
    if Path(path).is_absolute() or _REMOTE.match(path) or path.startswith(("file:", "~")):
        return ""
    try:
        return f" (below the working directory {Path.cwd()})"
    except OSError:  # it was removed
        return ""


def expand_home(path: str) -> Path:
    """Return a path in which ``~`` and ``~name`` at the beginning are replaced by a home directory, as shells do.

    Every path that a person gives on the command line or in a job file passes through here: a shell leaves the ``~`` of
    ``--set output.uri=~/out`` as it is.

    Args:
        path: A path on this machine.

    Raises:
        ConfigError: This machine knows no such user, or not where this user's home is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{shortened(path, 300)!r} begins with ~, and this machine knows no home directory for it; write the whole "
            "path, or begin with ./ if the name really begins with ~"
        ) from None


def _normalize_dicomweb_uri(scheme: str, location: str) -> str:
    """Return the one form of a DICOMweb URI: lower-case host, and a query that is sorted by its keys."""
    location, _, query = location.partition("?")
    host, _, path = location.partition("/")
    if set(host) & set("@#") or "#" in path + query:
        raise ConfigError(
            f"a URI that begins with {scheme}:// holds a user, a password or a fragment: write "
            f"{scheme}://host/dicom-web, and give credentials in the environment (see docs/dicom.md)"
        )
    path = path.rstrip("/")
    if not host or (path and not is_key(path)):
        raise ConfigError(f"a URI that begins with {scheme}:// is not complete; write {scheme}://host/dicom-web")
    place = f"{scheme}://{host.lower()}/{path}".rstrip("/")
    filters = sorted(parse_qsl(query, keep_blank_values=True))
    return f"{place}?{urlencode(filters)}" if filters else place


def is_dicomweb_uri(uri: str) -> bool:
    """Return whether a normalised URI is that of a DICOMweb server."""
    return scheme_of(uri) in DICOMWEB_SCHEMES


def without_query(uri: str) -> str:
    """Return a normalised URI without the filters of a DICOMweb URI. Other URIs are returned as they are."""
    return uri.partition("?")[0] if is_dicomweb_uri(uri) else uri


def with_query_of(uri: str, place: str) -> str:
    """Return `place` with the filters of the DICOMweb URI `uri`.

    Args:
        uri: A normalised URI.
        place: Another normalised URI, without a query.
    """
    query = uri.partition("?")[2] if is_dicomweb_uri(uri) else ""
    return f"{place}?{query}" if query else place


def scheme_of(uri: str) -> str:
    """Return the scheme of a normalised URI; ``file`` for a path."""
    remote = _REMOTE.fullmatch(uri)
    return remote[1] if remote else "file"


def is_local_path(uri: str) -> bool:
    """Return whether a normalised URI is a path on this machine."""
    return scheme_of(uri) == "file"


def join_uri(uri: str, relative: str) -> str:
    """Return the normalised URI of a place below another one.

    Args:
        uri: The URI or path above.
        relative: The relative path. A slash at its end is dropped.

    Raises:
        ValueError: `relative` could lead out of `uri`.
    """
    return f"{normalize_uri(uri).rstrip('/')}/{check_key(relative.rstrip('/'))}"


def is_key(key: str) -> bool:
    """Return whether `key` is relative and stays below its root.

    A key has no slash at either end and no ``.`` or ``..`` part.
    """
    return (
        bool(key)
        and not key.startswith("/")
        and not key.endswith("/")
        and "\0" not in key
        and not any(part in (".", "..") for part in key.split("/"))
    )


def check_key(key: str) -> str:
    """Return `key`.

    Raises:
        ValueError: `is_key` is false. The message does not repeat the key, which may name a patient.
    """
    if not is_key(key):
        raise ValueError("not a relative key below the root (empty, absolute, or with '.' or '..' parts)")
    return key


def check_prefix(prefix: str) -> str:
    """Return the directory `prefix` with one slash at its end, or '' for the root.

    Raises:
        ValueError: `prefix` is not a key.
    """
    directory = prefix.removesuffix("/")
    return f"{check_key(directory)}/" if directory else ""
