"""The index of headers: made, brought up to date, continued after a kill, and made by two at once."""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import ObjectInfo, Source, open_source
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.header_index import read_many, update_index
from diagchd_batch.studies.header_index.header_columns import HEADERS
from diagchd_batch.studies.header_index.stored_index import newest_head, stored_headers
from tests.support.dicom_archives import dicom_file, ultrasound_header, write_archive

N_FILES = 150


class Killed(BaseException):
    """Ends an update like a kill: nothing is written afterwards."""


class Quiet:
    def listed(self, n_objects: int) -> None:
        pass

    def reading(self, n_done: int, n_wanted: int) -> None:
        assert 0 <= n_done <= n_wanted


class Archive:
    """An archive with its index. `read` has the keys of the headers that were read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "archive"
        write_archive(self.directory, N_FILES)
        self.source: Source = open_source(str(self.directory))
        self.private: Store = open_store(str(directory / "private"), owner_only=True)
        self.read: list[str] = []

    def reader(self, stop_after: int | None = None, between: Callable[[], Any] = lambda: None) -> read_many.ReadChunks:
        def read(chunks: Iterable[Sequence[ObjectInfo]]) -> Iterator[pa.Table]:
            for number, chunk in enumerate(chunks):
                if number == stop_after:
                    raise Killed
                between()
                self.read += [info.key for info in chunk]
                yield read_many.read_chunk(self.source, chunk)

        return read

    def update(self, reader: read_many.ReadChunks | None = None) -> update_index.IndexUpdate:
        return update_index.update_index(self.source, self.private, reader or self.reader(), Quiet())

    def rows(self) -> list[dict[str, Any]]:
        return stored_headers(self.private).to_table().sort_by("key").to_pylist()

    def files(self) -> set[str]:
        return {info.key for info in self.private.list(output_layout.HEADER_INDEX_PREFIX)}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.fixture
def _small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (read_many, update_index):
        monkeypatch.setattr(module, "OBJECTS_PER_CHUNK", 10)
    monkeypatch.setattr(update_index, "_OBJECTS_PER_QUERY", 20)
    monkeypatch.setattr(update_index, "COMMIT_ROWS", 30)


def test_every_object_has_one_row_and_hidden_ones_have_none(archive: Archive) -> None:
    (archive.directory / "notes.txt").write_text("no DICOM")
    (archive.directory / ".hidden").mkdir()
    (archive.directory / ".hidden" / "a.dcm").write_bytes(dicom_file(ultrasound_header(1)))
    counts = archive.update(read_many.threaded_reader(archive.source)).head.counts
    assert counts.kinds == {"image": N_FILES, "not_dicom": 1}
    assert (counts.n_objects, counts.n_new, counts.n_read) == (N_FILES + 1,) * 3
    rows = archive.rows()
    assert list(rows[0]) == HEADERS.names
    images = [row for row in rows if row["kind"] == "image"]
    assert len({row["patient_id"] for row in images}) == len({row["study_uid"] for row in images}) == N_FILES
    assert {row["key"] for row in rows} == {info.key for info in archive.source.list()} - {".hidden/a.dcm"}


def test_only_what_has_changed_is_read_again_and_what_is_gone_goes(archive: Archive) -> None:
    first = archive.update()
    archive.read.clear()
    again = archive.update()
    assert archive.read == [] and not again.is_changed
    assert again.head.parts == first.head.parts and again.head.updated_at > first.head.updated_at
    (archive.directory / "0" / "00000.dcm").unlink()
    changed = archive.directory / "1" / "00001.dcm"
    changed.write_bytes(dicom_file(ultrasound_header(1, SeriesDescription="4CH")))
    touched = archive.directory / "2" / "00002.dcm"
    os.utime(touched, ns=(1, 1))
    (archive.directory / "new.dcm").write_bytes(dicom_file(ultrasound_header(999)))
    update = archive.update()
    counts = update.head.counts
    assert update.is_changed
    assert (counts.n_new, counts.n_changed, counts.n_vanished, counts.n_read) == (1, 2, 1, 3)
    assert sorted(archive.read) == ["1/00001.dcm", "2/00002.dcm", "new.dcm"]
    rows = {row["key"]: row for row in archive.rows()}
    assert "0/00000.dcm" not in rows and len(rows) == N_FILES
    assert rows["1/00001.dcm"]["series_description"] == "4CH"
    assert rows["2/00002.dcm"]["modified_ns"] == 1


@pytest.mark.usefixtures("_small_commits")
def test_a_killed_update_goes_on_and_reads_no_committed_header_twice(archive: Archive) -> None:
    with pytest.raises(Killed):
        archive.update(archive.reader(stop_after=8))
    assert newest_head(archive.private) is None and archive.rows() == []
    lost = set(archive.read[60:])  # the third commit was not reached
    update = archive.update()
    assert update.head.counts.n_taken_over == 60
    assert update.head.counts.n_read == N_FILES - 60
    assert {key for key in archive.read if archive.read.count(key) > 1} == lost
    assert len(archive.rows()) == N_FILES
    assert len(archive.files()) == 2, "the tables of the killed update are removed"


@pytest.mark.usefixtures("_small_commits")
def test_an_interrupted_update_keeps_all_that_it_has_read(archive: Archive) -> None:
    def interrupt() -> None:
        if len(archive.read) >= 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.update(archive.reader(between=interrupt))
    assert archive.update().head.counts.n_taken_over == 50


@pytest.mark.usefixtures("_small_commits")
def test_an_update_that_another_one_overtakes_ends_with_a_whole_index(archive: Archive) -> None:
    def overtake() -> None:
        if len(archive.read) == 40:
            archive.update(read_many.threaded_reader(archive.source))
            (archive.directory / "later.dcm").write_bytes(dicom_file(ultrasound_header(999)))
            archive.update(read_many.threaded_reader(archive.source))

    update = archive.update(archive.reader(between=overtake))
    found = newest_head(archive.private)
    assert found is not None and found == (2, update.head)
    assert set(found[1].parts) <= archive.files()
    assert len(archive.rows()) == N_FILES
    assert archive.update().head.counts.n_new == 1


def test_updates_at_once_never_leave_a_head_without_its_tables(archive: Archive) -> None:
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(2):
                source = open_source(str(archive.directory))
                update_index.update_index(source, archive.private, read_many.threaded_reader(source, 2), Quiet())
                (archive.directory / f"more-{number}.txt").write_text(os.urandom(8).hex())
                os.utime(archive.directory / f"more-{number}.txt")
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = newest_head(archive.private)
        assert found is None or len(archive.rows()) >= N_FILES
    assert not faults
    archive.update()
    assert {row["key"] for row in archive.rows()} == {info.key for info in archive.source.list()}
    archive.update()
    archive.update()
    assert len([key for key in archive.files() if key.endswith(".json")]) == 2


def test_the_tables_of_the_head_before_stay_for_those_who_read_them(archive: Archive) -> None:
    old = set(archive.update().head.parts)
    (archive.directory / "new.dcm").write_bytes(b"x")
    new = set(archive.update().head.parts)
    assert old | new <= archive.files()
    archive.update()
    (archive.directory / "newer.dcm").write_bytes(b"x")
    archive.update()
    assert not old & archive.files()


def test_what_the_storage_refuses_is_asked_for_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: str, start: int, length: int) -> bytes:
        raise ItemError(FailureCode.ACCESS_DENIED, key)

    with monkeypatch.context() as refused:
        refused.setattr(archive.source, "read_range", refuse)
        counts = archive.update().head.counts
    assert counts.kinds == {"not_read": N_FILES} and counts.n_failed == N_FILES
    counts = archive.update().head.counts
    assert (counts.n_read, counts.n_changed, counts.kinds) == (N_FILES, 0, {"image": N_FILES})


def test_a_damaged_table_is_made_again_from_the_archive(archive: Archive) -> None:
    (part,) = archive.update().head.parts
    archive.private.replace(part, b"no Parquet")
    assert archive.update().head.counts.n_read == N_FILES
    assert len(archive.rows()) == N_FILES


def test_only_the_owner_can_read_the_index(archive: Archive) -> None:
    archive.update()
    root = Path(archive.private.uri)
    for path in [root / key for key in archive.files()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_empty_archive_has_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    private = open_store(str(tmp_path / "private"), owner_only=True)
    source = open_source(str(tmp_path / "empty"))
    update_index.update_index(source, private, read_many.threaded_reader(source), Quiet())
    assert stored_headers(private).to_table().num_rows == 0
    assert newest_head(private) is not None


class TellingSource:
    """A source that tells its headers, like a PACS, and knows no versions."""

    uri = "dicomweb+https://pacs.test/dicom-web"

    def __init__(self, *headers: Any) -> None:
        self.headers = list(headers)

    def list_headers(self, progress: Callable[[int], None] | None = None) -> Iterator[tuple[ObjectInfo, Any, str]]:
        for number, dataset in enumerate(self.headers):
            if progress:
                progress(number)
            yield ObjectInfo(f"instances/{dataset.SOPInstanceUID}"), dataset, "1.2.840.10008.1.2.1"


def test_headers_that_a_source_tells_are_taken_and_compared(archive: Archive) -> None:
    source = TellingSource(*(ultrasound_header(number) for number in range(5)))
    archive.source = cast(Source, source)
    first = archive.update().head
    assert archive.read == []
    assert (first.counts.n_objects, first.counts.n_new, first.counts.kinds) == (5, 5, {"image": 5})
    again = archive.update()
    assert not again.is_changed and again.head.parts == first.parts
    source.headers = [*source.headers[1:], ultrasound_header(4), ultrasound_header(9)]
    source.headers[0].SeriesDescription = "4CH"
    counts = archive.update().head.counts
    assert (counts.n_new, counts.n_changed, counts.n_vanished) == (1, 1, 1)
    rows = {row["sop_uid"]: row for row in archive.rows()}
    assert sorted(rows) == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.4", "1.2.3.9"]
    assert rows["1.2.3.1"]["series_description"] == "4CH"
    assert rows["1.2.3.9"]["patient_id"] == "PATIENT-9"
