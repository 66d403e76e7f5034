"""Planning an archive on S3 whose manifest and private tree are on S3, too."""

import hashlib
import multiprocessing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.sources import open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.header_index.read_many import threaded_reader
from diagchd_batch.studies.header_index.stored_index import stored_headers
from diagchd_batch.studies.header_index.update_index import update_index
from diagchd_batch.studies.identifier_key import load_or_create_key
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.layouts.manifest import manifest_digest
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from diagchd_batch.studies.tables.evaluation_inputs import read_reference
from diagchd_batch.uris import join_uri
from tests.support.dicom_archives import dicom_file, ultrasound_header, write_archive

pytestmark = pytest.mark.s3

IMAGES = [f"study-{study}/frame {image} é.png" for study in range(12) for image in range(3)]
MANIFEST = "study_id,uri,label\n" + "".join(f"{uri.split('/')[0]},{uri},1\n" for uri in IMAGES)


@pytest.fixture
def bucket(s3_uri: str) -> str:
    storage = open_store(s3_uri)
    for uri in IMAGES:
        storage.create(f"archive/{uri}", b"12345")
    storage.create("archive/tables/studies.csv", MANIFEST.encode())
    return s3_uri


def config_of(bucket: str) -> InputConfig:
    return InputConfig(
        uri=join_uri(bucket, "archive"),
        layout="manifest",
        manifest=join_uri(bucket, "archive/tables/studies.csv"),
    )


def freeze(bucket: str, images_per_shard: int = 7) -> tuple[bytes, Plan]:
    config = config_of(bucket)
    private = open_store(join_uri(bucket, "out/private"))
    key = load_or_create_key(private, {})
    shards = ShardsConfig(images_per_shard=images_per_shard)
    return key, freeze_plan(config, shards, open_store(config.uri), private, "run", Pseudonymizer(key))


def test_plan_on_s3(bucket: str) -> None:
    _, plan = freeze(bucket)
    planned = [row for reference in plan.shards() for row in plan.read_shard(reference)]
    assert sorted(row.uri for row in planned) == sorted(IMAGES)
    assert {row.size_bytes for row in planned} == {5}
    archive = open_store(config_of(bucket).uri)
    assert {row.uri: row.etag for row in planned} == {uri: archive.stat(uri).etag for uri in IMAGES}
    assert plan.head.n_missing == plan.head.n_unlisted == 0
    again = open_plan(open_store(join_uri(bucket, "out/private")), "run")
    assert again.head == plan.head
    assert again.studies().read_all().num_rows == 12


def test_tables_are_read_from_s3(bucket: str) -> None:
    open_store(bucket).create("reference.csv", b"\xef\xbb\xbfstudy_id;label\r\n007;1\r\n")
    table = read_reference(join_uri(bucket, "reference.csv"))
    assert table["study_id"].tolist() == ["007"]
    assert table["label"].tolist() == [1]


def _freeze_in_another_process(bucket: str, images_per_shard: int, barrier: Barrier, answers: "Queue[Any]") -> None:
    barrier.wait()
    key, plan = freeze(bucket, images_per_shard)
    answers.put((key, plan.head, [row.image_id for ref in plan.shards() for row in plan.read_shard(ref)]))


def test_two_drivers_at_once_get_one_key_and_one_plan(bucket: str) -> None:
    processes = multiprocessing.get_context("spawn")
    barrier, answers = processes.Barrier(2), processes.Queue()
    drivers = [
        processes.Process(target=_freeze_in_another_process, args=(bucket, images_per_shard, barrier, answers))
        for images_per_shard in (3, 7)
    ]
    for driver in drivers:
        driver.start()
    one, other = answers.get(timeout=60), answers.get(timeout=60)
    for driver in drivers:
        driver.join()
    assert one == other
    assert len(one[2]) == len(IMAGES)


def test_manifest_digest_and_absence(bucket: str) -> None:
    config = config_of(bucket)
    assert manifest_digest(config) == hashlib.sha256(MANIFEST.encode()).hexdigest()
    gone = config.model_copy(update={"manifest": join_uri(bucket, "archive/gone.csv")})
    with pytest.raises(InputError, match="the file does not exist"):
        manifest_digest(gone)


def _plan_of_headers(uri: str, private_uri: str) -> set[tuple[str, str, str]]:
    """Index and plan an archive of DICOM files, and return the tokens of its images, studies and subjects."""
    source, private = open_store(uri), open_store(private_uri, owner_only=True)
    update_index(source, private, threaded_reader(source), _Silent())
    config = InputConfig(uri=uri, layout="dicom")
    tokens = Pseudonymizer(b"a key for tests, 32 bytes long..")
    plan = freeze_plan(config, ShardsConfig(), source, private, "run", tokens, headers=headers_for(config, private))
    rows = [row for reference in plan.shards() for row in plan.read_shard(reference)]
    assert plan.head.n_missing == 0
    return {(row.image_id, row.study_id, row.subject_id) for row in rows}


class _Silent:
    def listed(self, n_objects: int) -> None:
        pass

    def reading(self, n_done: int, n_wanted: int) -> None:
        pass


def test_dicom_objects_have_one_token_on_disk_and_on_s3(s3_uri: str, tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", 12)
    in_s3 = open_store(join_uri(s3_uri, "elsewhere"))
    for number, path in enumerate(sorted((tmp_path / "archive").rglob("*.dcm"))):
        in_s3.create(f"renamed/{number}", path.read_bytes())
    on_disk = _plan_of_headers(str(tmp_path / "archive"), str(tmp_path / "private"))
    assert len(on_disk) == 12
    assert _plan_of_headers(in_s3.uri, join_uri(s3_uri, "private")) == on_disk


def test_the_index_on_s3_reads_headers_in_ranges_and_again_only_under_another_entity_tag(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(join_uri(s3_uri, "archive"))
    loop = ultrasound_header(0, Rows=256, Columns=256, NumberOfFrames=40, PixelData=bytes(40 << 16))
    store.create("loop", dicom_file(loop))
    for number in (1, 2):
        store.create(f"still {number}", dicom_file(ultrasound_header(number, PixelData=bytes(4))))
    source, private = open_source(store.uri), open_store(join_uri(s3_uri, "private"), owner_only=True)
    read: list[tuple[str, int]] = []
    read_range = type(source).read_range

    def counted(self: Any, key: str, start: int, length: int) -> bytes:
        data = read_range(self, key, start, length)
        read.append((key, len(data)))
        return data

    monkeypatch.setattr(type(source), "read_range", counted)
    first = update_index(source, private, threaded_reader(source), _Silent()).head.counts
    assert (first.n_new, first.n_read, first.kinds) == (3, 3, {"image": 3})
    assert sum(size for key, size in read if key == "loop") <= 64 << 10  # of 2.6 MB
    read.clear()
    assert not update_index(source, private, threaded_reader(source), _Silent()).is_changed
    assert read == []
    before = store.stat("still 2")
    store.replace("still 2", dicom_file(ultrasound_header(2, PatientID="PATIENT-9", PixelData=bytes(4))))
    after = store.stat("still 2")
    assert before and after and before.size_bytes == after.size_bytes and before.etag != after.etag
    changed = update_index(source, private, threaded_reader(source), _Silent()).head.counts
    assert (changed.n_new, changed.n_changed, changed.n_read) == (0, 1, 1)
    assert {key for key, _ in read} == {"still 2"}
    rows = {row["key"]: row for row in stored_headers(private).to_table().to_pylist()}
    assert rows["still 2"]["patient_id"] == "PATIENT-9" and rows["loop"]["n_frames"] == 40
