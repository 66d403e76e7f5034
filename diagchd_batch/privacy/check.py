"""Searches everything of an output that others may see for the identifiers that its private tree knows."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from diagchd_batch.errors import ItemError
from diagchd_batch.privacy.known_values import known_values
from diagchd_batch.privacy.own_vocabulary import own_texts
from diagchd_batch.privacy.searched_places import public_keys, ray_files
from diagchd_batch.privacy.spellings import spellings_of
from diagchd_batch.privacy.texts_of_files import Text, UnreadableError, texts_in, texts_of_table
from diagchd_batch.privacy.value_index import SearchedText, ValueIndex, ValueIndexBuilder
from diagchd_batch.results.datasets import OutputTrees
from diagchd_batch.storage import Store

MAX_FINDINGS_LISTED = 1_000
MAX_FINDINGS_OF_FILE = 20
"""The places of one file that are listed. The others are counted."""

_CHUNK_BYTES = 32 << 20
_OVERLAP_BYTES = 8 << 10
_HIDDEN = "[…]"

_FORMS_OF_IDENTIFIERS: Mapping[str, re.Pattern[str]] = {
    "token": re.compile(r"(?<![0-9A-Za-z])[psir]-[0-9a-f]{16}(?![0-9A-Za-z])"),
    "UID": re.compile(r"(?<![0-9.])[0-2](?:\.(?:0|[1-9][0-9]*)){7,}(?![0-9.])"),
}
"""What tells an identifier by its form alone: tokens of any output, and UIDs of eight components or more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One identifier that was found. The identifier itself is not in it.

    Attributes:
        file: The file.
        place: Where in the file.
        kind: What the identifier is, such as a DICOM keyword.
    """

    file: str
    place: str
    kind: str


@dataclass
class PrivacyReport:
    """The result of a check.

    Attributes:
        findings: The places of identifiers, at most `MAX_FINDINGS_LISTED`.
        n_findings: The number of places.
        n_files: The number of files that were searched.
        n_bytes: Their bytes.
        n_values: The number of different values that the private tree knows.
        n_allowed: The number of values that are not searched because their kind is allowed.
        n_searched: The number of spellings of values that were searched.
        n_short_numbers: How many of them are short numbers, which are found only as a whole cell or string.
        n_vocabulary: The number of spellings that are not searched because the program's own texts have them.
        unsearched: Files that could not be searched, and why.
        notes: What the private tree does not know.
    """

    findings: list[Finding] = field(default_factory=list)
    n_findings: int = 0
    n_files: int = 0
    n_bytes: int = 0
    n_values: int = 0
    n_allowed: int = 0
    n_searched: int = 0
    n_short_numbers: int = 0
    n_vocabulary: int = 0
    unsearched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found, and every file could be searched."""
        return not self.n_findings and not self.unsearched


def check_privacy(
    output: OutputTrees,
    allowed: Sequence[str],
    *,
    also: Sequence[Store] = (),
    on_file: Callable[[int], object] = lambda n_files: None,
) -> PrivacyReport:
    """Search the public tree of an output, and what local Rays of this user have on this machine's disk.

    Args:
        output: The output. Its private tree must be readable.
        allowed: Kinds of values that may be shown.
        also: Other places to search, such as the destination of an export.
        on_file: Called with the number of files searched so far.

    Returns:
        The places of identifiers, and the numbers of values that were searched and left out.

    Raises:
        RunFault: The private tree is missing or damaged, or memory and temporary disk space run out.
    """
    report = PrivacyReport()
    index = _index(output, frozenset(allowed), report)
    search = _Search(index, report, on_file)
    for key in public_keys(output):
        search.file(output.storage, key)
    for store in also:
        for key in sorted(info.key for info in store.list()):
            search.file(store, key, f"{store.uri.rstrip('/')}/")
    for directory, path in ray_files():
        search.local_file(directory, path)
    return report


def check_package(
    package: Store,
    output: OutputTrees | None,
    allowed: Sequence[str],
    *,
    on_file: Callable[[int], object] = lambda n_files: None,
) -> PrivacyReport:
    """Search every file of a model package, which is given to others as one thing.

    Args:
        package: The package.
        output: The output of the training, whose private tree knows what to search for. Without it only tokens and
            UIDs are searched for, which no package has.
        allowed: Kinds of values that may be shown.
        on_file: Called with the number of files searched so far.

    Returns:
        The places of identifiers, and the numbers of values that were searched and left out.

    Raises:
        RunFault: The private tree is missing or damaged, or memory and temporary disk space run out.
    """
    report = PrivacyReport()
    index = ValueIndexBuilder().build() if output is None else _index(output, frozenset(allowed), report)
    search = _Search(index, report, on_file, _FORMS_OF_IDENTIFIERS)
    for key in sorted(info.key for info in package.list()):
        search.file(package, key)
    return report


def _index(output: OutputTrees, allowed: frozenset[str], report: PrivacyReport) -> ValueIndex:
    builder = ValueIndexBuilder()
    with known_values(output) as known:
        for kind, value in known.values(allowed):
            for spelling in spellings_of(kind, value):
                if spelling.kind not in allowed:
                    builder.add(spelling)
        report.n_values, report.n_allowed = known.n_values, known.n_allowed
        report.notes = known.notes
    index = builder.build()
    for text in own_texts() if len(index) else ():
        index.leave_out(text)
    counts = index.counts()
    report.n_searched, report.n_short_numbers = counts.searched, counts.short_numbers
    report.n_vocabulary = counts.vocabulary
    return index


class _Search:
    """Searches files one by one and adds to the report."""

    def __init__(
        self,
        index: ValueIndex,
        report: PrivacyReport,
        on_file: Callable[[int], object],
        forms: Mapping[str, re.Pattern[str]] = MappingProxyType({}),
    ) -> None:
        self._index, self._report, self._on_file, self._forms = index, report, on_file, forms
        self._seen: set[Finding] = set()

    def file(self, store: Store, key: str, root: str = "") -> None:
        """Search one object of a store: its key and its contents. `root` stands before the key in messages."""
        shown = self._begin(key, root)
        try:
            self._add(shown, self._texts(store, key))
        except (UnreadableError, ItemError) as error:
            reason = str(error) if isinstance(error, UnreadableError) else "it cannot be read"
            self._report.unsearched.append(f"{shown}: {reason}")

    def local_file(self, directory: Path, path: Path) -> None:
        """Search a file of a local Ray. A file that its process removes meanwhile is left out."""
        with suppress(OSError):
            data = path.read_bytes()
            self._report.n_bytes += len(data)
            with suppress(UnreadableError):
                self._add(self._begin(str(path.relative_to(directory)), f"local Ray, {directory}/"), texts_in(data))

    def _begin(self, name: str, root: str) -> str:
        self._report.n_files += 1
        self._on_file(self._report.n_files)
        shown = root + self._masked(name)
        self._seen.clear()
        self._add(shown, [Text([name], False, lambda part: "the name of the file")])
        return shown

    def _texts(self, store: Store, key: str) -> Iterator[Text]:
        info = store.stat(key)
        size_bytes = (info and info.size_bytes) or 0
        self._report.n_bytes += size_bytes
        if key.endswith(".parquet"):
            file_system, root = store.arrow()
            with file_system.open_input_file(f"{root}/{key}") as file:
                yield from texts_of_table(file)
        elif size_bytes <= _CHUNK_BYTES:
            yield from texts_in(store.read(key))
        else:
            for start in range(0, size_bytes, _CHUNK_BYTES - _OVERLAP_BYTES):
                for text in texts_in(store.read_range(key, start, _CHUNK_BYTES)):
                    yield Text(
                        text.parts,
                        text.are_fields,
                        lambda part, text=text, start=start: f"from byte {start:,}: {text.place(part)}",  # type: ignore[misc]
                    )

    def _add(self, file: str, texts: Iterator[Text] | list[Text]) -> None:
        for text in texts:
            for hit in self._index.search(SearchedText(text.parts, are_fields=text.are_fields)):
                self._found(Finding(file, self._masked(text.place(hit.part)), hit.kind))
            for kind, form in self._forms.items():
                for part, words in enumerate(text.parts):
                    if form.search(words):
                        self._found(Finding(file, self._masked(text.place(part)), kind))

    def _found(self, finding: Finding) -> None:
        if finding in self._seen:
            return
        self._report.n_findings += 1
        if len(self._seen) < MAX_FINDINGS_OF_FILE:
            self._seen.add(finding)
            if len(self._report.findings) < MAX_FINDINGS_LISTED:
                self._report.findings.append(finding)

    def _masked(self, name: str) -> str:
        """Return a name of a file or column without the identifiers in it."""
        searched = SearchedText([name], are_fields=False)
        parts, end = [], 0
        for start, stop in _merged((hit.start, hit.end) for hit in self._index.search(searched)):
            parts += [searched.text[end:start], _HIDDEN]
            end = stop
        return "".join(parts) + searched.text[end:] if parts else name


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges that do not overlap and cover the same places."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
