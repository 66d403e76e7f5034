"""URIs of storages and the relative keys below them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from diagchd_batch.errors import ConfigError

S3_SCHEME = "s3://"


def normalize_uri(uri: str) -> str:
    """The one form of a storage's URI: an absolute path, or ``s3://bucket[/prefix]``; no slash at the end.

    Relative paths are taken from the working directory, so normalise before handing a URI to another machine.
    Raises ConfigError for other schemes, a missing bucket, or ``..`` in an S3 prefix.
    """
    if uri.startswith(S3_SCHEME):
        bucket, _, prefix = uri.removeprefix(S3_SCHEME).partition("/")
        prefix = prefix.rstrip("/")
        if not bucket or (prefix and not is_key(prefix)):
            raise ConfigError(f"{uri!r} is not a bucket's URI; write s3://bucket or s3://bucket/prefix")
        return f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/")
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ConfigError(f"{uri!r} is not an absolute file URI; write file:///directory or just the path")
        # `?` and `#` split a URL but are ordinary characters of a path that was not percent-encoded.
        uri = unquote(uri.removeprefix("file:").removeprefix("//").removeprefix("localhost"))
    elif "://" in uri:
        raise ConfigError(f"{uri!r}: storages are a directory (a path or file:///…) or s3://bucket/prefix")
    if not uri or "\0" in uri:
        raise ConfigError("an empty URI names no storage; write a directory or s3://bucket/prefix")
    return str(Path(uri).expanduser().absolute())


def join_uri(uri: str, relative: str) -> str:
    """The URI of `relative` below the storage at `uri`. Raises ValueError where `relative` could leave it."""
    return f"{normalize_uri(uri).rstrip('/')}/{check_key(relative.rstrip('/'))}"


def is_key(key: str) -> bool:
    """Whether `key` is relative and stays below its root: no leading or trailing slash, no ``.`` or ``..`` part."""
    return (
        bool(key)
        and not key.startswith("/")
        and not key.endswith("/")
        and "\0" not in key
        and not any(part in (".", "..") for part in key.split("/"))
    )


def check_key(key: str) -> str:
    """`key`, if `is_key`; else ValueError. The message does not repeat it: keys may name patients."""
    if not is_key(key):
        raise ValueError("not a relative key below the storage's root (empty, absolute, or with '.' or '..' parts)")
    return key


def check_prefix(prefix: str) -> str:
    """The directory that `prefix` names, with a slash at its end; '' for the root. ValueError as in `check_key`."""
    directory = prefix.removesuffix("/")
    return f"{check_key(directory)}/" if directory else ""
