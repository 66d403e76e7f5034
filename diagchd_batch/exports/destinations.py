"""Where exports may go, and how they are written: never among an output's own tables, and never over others' files.

A marker file in an export's directory says which kind of export wrote which files, with their digests. An export writes
only into a directory that is empty or new, or that a marker of its own kind describes. So a worklist, which names
patients, never enters a directory that is given away, and no file is lost that an export did not write.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault, UsageError
from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.atomic_files import put_if_absent
from diagchd_batch.storage.temporary_files import has_foreign_temporary_files, temporary_name
from diagchd_batch.uris import is_local_path, normalize_uri

MARKER = "diagchd-batch-export.json"
"""The name of the marker file of an export."""

_MAX_MARKER_BYTES = 64 << 20
_MAX_LISTED = 1_000
"""Files of a bucket's prefix that are listed to find out whether an output lies there."""


class ExportKind(StrEnum):
    """The kinds of exports. A directory holds exports of one kind only."""

    SHAREABLE = "shareable"
    WORKLIST = "worklist"
    DICOM = "dicom"
    LABEL_PNGS = "label_pngs"


class ExportMarker(JsonRecord):
    """What an export wrote into its directory.

    Attributes:
        kind: The kind of export.
        files: The SHA-256 digests that each file may have. While files are being replaced these are two: of the file
            as it was and as it becomes.
    """

    kind: ExportKind
    files: dict[str, tuple[str, ...]]


def write_export(destination: Store, kind: ExportKind, files: Mapping[str, bytes]) -> None:
    """Write the files of an export, in place of an earlier export of the same kind.

    Args:
        destination: An empty or new directory, or one that holds an export of the same kind and nothing else.
        kind: The kind of export.
        files: The contents of the files by name.

    Raises:
        UsageError: The destination holds anything else. Then nothing is written.
    """
    earlier = _earlier_export(destination, kind)
    digests = {name: (hashlib.sha256(data).hexdigest(),) for name, data in files.items()}
    # An export that is interrupted leaves a marker that describes old and new files, so that it can be repeated.
    both = {
        name: tuple(dict.fromkeys((*earlier.get(name, ()), *digests.get(name, ()))))
        for name in sorted({*earlier, *digests})
    }
    ExportMarker(kind=kind, files=both).write(destination, MARKER)
    for name, data in files.items():
        destination.replace(name, data)
    for name in earlier.keys() - files.keys():
        destination.delete(name)
    ExportMarker(kind=kind, files=digests).write(destination, MARKER)


def check_destination(destination: Store, kind: ExportKind) -> None:
    """Check that an export of this kind may be written to a destination, without writing anything.

    Args:
        destination: Where to export to.
        kind: The kind of export.

    Raises:
        UsageError: The destination holds anything but an earlier export of this kind.
    """
    _earlier_export(destination, kind)


def claim_growing(destination: Store, kind: ExportKind, own_name: re.Pattern[str], *, write: bool) -> None:
    """Check that an export that adds file after file may be written to a destination, and mark it.

    Such an export never replaces a file: whoever writes creates each file only if it is absent.

    Args:
        destination: An empty or new directory, or one that holds an export of this kind and nothing else.
        kind: The kind of export.
        own_name: Matches the whole name of each file that this kind of export writes.
        write: Whether to mark it. A dry run only checks.

    Raises:
        UsageError: The destination holds anything else.
    """
    held, marker = _files_and_marker(destination, kind, grows=True)
    if marker is None:
        if write:
            ExportMarker(kind=kind, files={}).write(destination, MARKER)
        return
    if any(own_name.fullmatch(key) is None for key in held - {MARKER}):
        raise _other_files(destination)


def _earlier_export(destination: Store, kind: ExportKind) -> Mapping[str, tuple[str, ...]]:
    """Return the files of an earlier export of this kind with their digests; nothing for an empty directory.

    Raises:
        UsageError: The destination holds anything but such an export.
    """
    held, marker = _files_and_marker(destination, kind, grows=False)
    if marker is None:
        return {}
    if held - {MARKER} - marker.files.keys():
        raise _other_files(destination)
    for name, digests in marker.files.items():
        if name in held and hashlib.sha256(destination.read(name)).hexdigest() not in digests:
            raise UsageError(
                f"{name} in {destination.uri} has changed since it was exported, and the change would be lost; name an "
                "empty or new directory"
            )
    return marker.files


def _files_and_marker(destination: Store, kind: ExportKind, *, grows: bool) -> tuple[set[str], ExportMarker | None]:
    """Return the files of a destination and its marker; no files and None if it is empty.

    Args:
        destination: The destination.
        kind: The kind of the export that is going to write there.
        grows: Whether another export of this kind may be writing there now.

    Raises:
        UsageError: It holds files without a marker of this kind, or files that are being written.
    """
    listed = (info.key for info in destination.list())
    if destination.stat(MARKER) is None:
        if next(listed, None) is not None:  # A directory with a million files of others is not listed whole.
            raise UsageError(
                f"{destination.uri} holds other files, which an export would overwrite or which would be given away "
                "with it; name an empty or new directory"
            )
        held, marker = set[str](), None
    else:
        held, marker = set(listed), _read_marker(destination, kind)
    if is_local_path(destination.uri) and has_foreign_temporary_files(Path(destination.uri), may_be_written=grows):
        raise _other_files(destination)
    return held, marker


def _read_marker(destination: Store, kind: ExportKind) -> ExportMarker:
    """Return the marker of a destination. Raises UsageError unless it is one of this kind."""
    try:
        marker = ExportMarker.from_json(destination.read(MARKER), MARKER)
    except DamagedRecordError as error:
        raise UsageError(f"{destination.uri}: {error}; name an empty or new directory") from error
    if marker.kind != kind:
        raise UsageError(
            f"{destination.uri} holds an export of kind {marker.kind}, and this one is of kind {kind}; name another "
            "directory, because exports of different kinds are for different people"
        )
    return marker


def _other_files(destination: Store) -> UsageError:
    return UsageError(
        f"{destination.uri} holds other files beside an earlier export, or files that are being written; move them "
        "away, or name an empty or new directory"
    )


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for one result that a person asked for. It appears when it is complete, and replaces nothing.

    A device or a pipe is opened as it is.

    Args:
        path: The file, which must not exist yet.

    Raises:
        UsageError: The file exists, or its directory cannot be written.
    """
    try:
        if path.exists() and (stat.S_ISCHR(path.stat().st_mode) or stat.S_ISFIFO(path.stat().st_mode)):
            with path.open("wb") as device:
                yield device
            return
        if os.path.lexists(path):
            raise _exists_already(path)
        temporary = path.with_name(temporary_name())
        try:
            with temporary.open("xb") as file:
                yield file
            if not put_if_absent(temporary, path):
                raise _exists_already(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another place") from error


def _exists_already(path: Path) -> UsageError:
    return UsageError(f"{path} exists already and is not overwritten; name another file, or remove it first")


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


def check_outside_shareable_trees(destination: Store) -> None:
    """Check that a place for identified data lies in no output's tables, and in nothing that is given away.

    Args:
        destination: A place, which need not exist.

    Raises:
        UsageError: A place above it, or the place itself, is an output or a shareable export. The private tree of an
            output is allowed.
    """
    for above in _with_places_above(destination.uri):
        if _is_private_tree(above):
            return
        if _has_run(above):
            raise UsageError(
                f"{destination.uri} lies in the output {above}, whose tables may be read by others; export to another "
                "place, or to the private tree"
            )
        _refuse_below_shareable_export(destination.uri, above)


def check_outside_shareable_exports(uri: str) -> None:
    """Check that a place for rows of single studies lies in nothing that is given away.

    Args:
        uri: A place, which need not exist.

    Raises:
        UsageError: A place above it, or the place itself, is a shareable export.
    """
    for above in _with_places_above(uri):
        _refuse_below_shareable_export(uri, above)


def _refuse_below_shareable_export(uri: str, above: str) -> None:
    marker = _read_if_there(above, MARKER)
    if marker is not None and f'"{ExportKind.SHAREABLE}"'.encode() in marker:
        where = f"{uri} holds" if above == _real(normalize_uri(uri)) else f"{uri} lies in {above},"
        raise UsageError(
            f"{where} an export of kind {ExportKind.SHAREABLE}, which is given away; write to another place"
        )


def _with_places_above(uri: str) -> Iterator[str]:
    """Yield a place without symbolic links, and all those above it: directories, or prefixes up to the bucket."""
    uri = _real(normalize_uri(uri))
    if is_local_path(uri):
        yield from map(str, (Path(uri), *Path(uri).parents))
        return
    scheme, _, path = uri.partition("://")
    parts = path.split("/")
    for n_parts in range(len(parts), 0, -1):
        yield f"{scheme}://{'/'.join(parts[:n_parts])}"


def _read_if_there(uri: str, key: str) -> bytes | None:
    """Return a small file; None if there is none, if this user may not look at it, or if a stranger put it there."""
    if is_local_path(uri) and not _is_of_the_place(Path(uri) / key, stat.S_ISREG):
        return None
    store = open_store(uri)
    with suppress(ItemError, StorageFault):
        if store.stat(key) is not None:
            return store.read(key, _MAX_MARKER_BYTES)
    return None


def _is_private_tree(uri: str) -> bool:
    above, _, name = uri.rpartition("/")
    in_output = name in (output_layout.PRIVATE, output_layout.PRIVATE_V1) and _has_run(above)
    return in_output or _read_if_there(uri, output_layout.ID_KEY_CHECK) is not None


def _has_run(uri: str) -> bool:
    """Return whether a place is an output that has a run."""
    for prefix in (output_layout.RUNS_PREFIX, output_layout.SCORES_PREFIX):
        with suppress(OSError, ItemError, StorageFault):
            if any(output_layout.RUN_DIRECTORY.fullmatch(f"{prefix}{name}/") for name in _names_in(uri, prefix)):
                return True
    return False


def _names_in(uri: str, prefix: str) -> Iterator[str]:
    """Yield names of what lies directly in a directory; of a bucket, of its first files only."""
    if is_local_path(uri):
        if _is_of_the_place(Path(uri) / prefix, stat.S_ISDIR):
            yield from (entry.name for entry in (Path(uri) / prefix).iterdir())
    else:
        first = islice(open_store(uri).list(prefix), _MAX_LISTED)
        yield from dict.fromkeys(info.key.removeprefix(prefix).partition("/")[0] for info in first)


def _is_of_the_place(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return whether a file of a kind belongs to this user or to the owner of its directory.

    In a directory such as `/tmp` any user could otherwise place names that make exports below it fail.
    """
    with suppress(OSError):
        status = path.lstat()
        return is_kind(status.st_mode) and status.st_uid in (os.geteuid(), path.parent.stat().st_uid)
    return False


def _is_within(uri: str, other: str) -> bool:
    return f"{_real(uri)}/".startswith(f"{_real(other).rstrip('/')}/")


def _real(uri: str) -> str:
    """Resolve links and ``..`` of local paths."""
    return str(Path(uri).resolve()) if is_local_path(uri) else uri
