"""Where exports may go: never among an output's own tables."""

from pathlib import Path

from diagchd_batch.errors import UsageError
from diagchd_batch.storage import Store
from diagchd_batch.uris import is_local_path


def check_apart(destination: Store, output: Store) -> None:
    """Raises UsageError where the destination is the output, lies in it, or holds it."""
    if _is_within(destination.uri, output.uri) or _is_within(output.uri, destination.uri):
        raise UsageError(f"{destination.uri} is part of the output {output.uri}, or holds it; export to another place")


def check_private(destination: Store, output: Store, private: Store) -> None:
    """As `check_apart`, but below the private tree is right for what is identified."""
    if not _is_within(destination.uri, private.uri):
        check_apart(destination, output)


def _is_within(uri: str, other: str) -> bool:
    return f"{_real(uri)}/".startswith(f"{_real(other).rstrip('/')}/")


def _real(uri: str) -> str:
    """Local paths without links and ``..``."""
    return str(Path(uri).resolve()) if is_local_path(uri) else uri
