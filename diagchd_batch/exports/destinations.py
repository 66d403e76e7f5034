"""Checks where exports may go: never among an output's own tables."""

from pathlib import Path

from diagchd_batch.errors import UsageError
from diagchd_batch.storage import Store
from diagchd_batch.uris import is_local_path


def check_apart(destination: Store, output: Store) -> None:
    """Check that a destination is neither the output, nor inside it, nor around it.

    Args:
        destination: Where to export to.
        output: The output.

    Raises:
        UsageError: It is.
    """
    if _is_within(destination.uri, output.uri) or _is_within(output.uri, destination.uri):
        raise UsageError(f"{destination.uri} is part of the output {output.uri}, or holds it; export to another place")


def check_private(destination: Store, output: Store, private: Store) -> None:
    """Check that a destination is fit for identified data: apart from the output, or inside the private tree.

    Args:
        destination: Where to export to.
        output: The output.
        private: Its private tree.

    Raises:
        UsageError: It is neither.
    """
    if not _is_within(destination.uri, private.uri):
        check_apart(destination, output)


def _is_within(uri: str, other: str) -> bool:
    return f"{_real(uri)}/".startswith(f"{_real(other).rstrip('/')}/")


def _real(uri: str) -> str:
    """Resolve links and ``..`` of local paths."""
    return str(Path(uri).resolve()) if is_local_path(uri) else uri
