"""How many bytes are read to find one study, one image or one mask in large files."""

from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from diagchd_batch import output_layout
from diagchd_batch.results import open_output
from diagchd_batch.results.columns import PREDICTION_COLUMNS, PREDICTIONS, parquet_options
from diagchd_batch.results.compaction import ROWS_PER_GROUP, ROWS_PER_PART, compact_predictions
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.storage.local import LocalStore
from tests.unit.results.made_run import METADATA, RUN_ID, planned_image, scored_row

N_IMAGES_PER_STUDY = 10
N_MASKS = 512


class CountedFile:
    """A file that adds the bytes that are read from it to those of its file system."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - whoever asked for it closes it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        CountingFiles.bytes_read += len(data)
        return data


class CountingFiles(LocalFileSystem):
    """The local file system, with a count of what is read."""

    protocol = "counting"
    bytes_read: ClassVar[int] = 0

    def _open(self, path: str, mode: str = "rb", **_: Any) -> CountedFile:
        return CountedFile(path.removeprefix("counting://"))


def with_pyarrow(path: Path, wanted: dict[str, str]) -> tuple[int, int]:
    """Return the rows that pyarrow finds, and the bytes that it reads, for three columns."""
    filters = [ds.field(name) == value for name, value in wanted.items()]
    filesystem = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(CountingFiles()))
    CountingFiles.bytes_read = 0
    expression = filters[0] if len(filters) == 1 else filters[0] & filters[1]
    found = ds.dataset(str(path), filesystem=filesystem, format="parquet").to_table(
        columns=["study_id", "frame", "chd_probability"], filter=expression
    )
    return found.num_rows, CountingFiles.bytes_read


def with_duckdb(path: Path, wanted: dict[str, str]) -> tuple[int, int]:
    """Return the rows that DuckDB finds, and the bytes that it reads, for three columns."""
    condition = " AND ".join(f"{name} = '{value}'" for name, value in wanted.items())
    # One thread, because others would move the position in a file of Python's.
    with duckdb.connect(config={"threads": 1, "async_threads": 0}) as connection:
        connection.register_filesystem(CountingFiles())
        CountingFiles.bytes_read = 0
        found = connection.execute(
            f"SELECT study_id, frame, chd_probability FROM read_parquet('counting://{path}') WHERE {condition}"
        ).fetchall()
    return len(found), CountingFiles.bytes_read


def tokens(kind: str, count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [f"{kind}-{number:016x}" for number in generator.integers(0, 2**63, count)]


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a full part of predictions, its studies in the order of their tokens."""
    generator = np.random.default_rng(0)
    studies = np.repeat(sorted(tokens("s", ROWS_PER_PART // N_IMAGES_PER_STUDY + 1, 1)), N_IMAGES_PER_STUDY)
    known = {
        "study_id": pa.array(studies[:ROWS_PER_PART]),
        "subject_id": pa.array(np.char.replace(studies[:ROWS_PER_PART], "s", "p")),
        "image_id": pa.array(tokens("i", ROWS_PER_PART, 2)),
        "status": pa.array(np.repeat("ok", ROWS_PER_PART)),
    }

    def values(field: pa.Field) -> pa.Array:
        if field.name in known:
            return known[field.name].cast(field.type)
        if pa.types.is_floating(field.type):
            return pa.array(generator.random(ROWS_PER_PART)).cast(field.type)
        if pa.types.is_integer(field.type):
            return pa.array(generator.integers(0, 9999, ROWS_PER_PART)).cast(field.type)
        return pa.nulls(ROWS_PER_PART, field.type)

    table = pa.table({field.name: values(field) for field in PREDICTIONS if field.nullable or field.name in known})
    path = tmp_path_factory.mktemp("large") / "part-00000.parquet"
    pq.write_table(table, path, row_group_size=ROWS_PER_GROUP, **parquet_options(PREDICTION_COLUMNS, ROWS_PER_GROUP))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("read", [with_pyarrow, with_duckdb])
def test_one_study_in_a_million_rows(large_file: Path, read: Any) -> None:
    study = pq.ParquetFile(large_file).read_row_group(7, ["study_id"])["study_id"][30_000].as_py()
    found, n_bytes = read(large_file, {"study_id": study})
    assert found == N_IMAGES_PER_STUDY
    assert n_bytes <= 0.02 * large_file.stat().st_size


@pytest.mark.slow
def test_one_image_in_a_million_rows(large_file: Path) -> None:
    row = pq.ParquetFile(large_file).read_row_group(7, ["study_id", "image_id"]).slice(30_000, 1).to_pylist()[0]
    size = large_file.stat().st_size
    for read in (with_pyarrow, with_duckdb):
        found, n_bytes = read(large_file, row)
        assert found == 1
        assert n_bytes <= 0.04 * size
    found, n_bytes = with_duckdb(large_file, {"image_id": row["image_id"]})  # by the Bloom filters of the row groups
    assert found == 1
    assert n_bytes <= 0.06 * size


def ragged_label_map(seed: int) -> np.ndarray:
    """Return a label map whose PNG is about as large as that of a network's ragged outlines at 576 x 768."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((576, 768), np.uint8)
    labels[150:400] = (np.arange(768) // 128 % 3).astype(np.uint8)
    labels[200:224, ::17] = generator.integers(0, 3, (24, 46), np.uint8)
    return labels


def test_one_mask_by_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = open_output(str(tmp_path))
    images = [planned_image(0, position) for position in range(N_MASKS)]
    path = tmp_path / output_layout.shard_file(RUN_ID, 0)
    path.parent.mkdir(parents=True)
    with path.open("w+b") as file, ShardWriter(file, METADATA) as writer:
        for number, image in enumerate(images):
            writer.write([scored_row(image, 0, 1, number) | {"mask_png": encode_mask(ragged_label_map(number))}])
    compact_predictions(output.storage, RUN_ID, METADATA)
    assert path.stat().st_size > 1_800_000

    filesystem = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(CountingFiles()))
    monkeypatch.setattr(LocalStore, "arrow", lambda store: (filesystem, store.uri))
    for number in (0, 255, 511):
        CountingFiles.bytes_read = 0
        mask = output.mask(images[number].image_id)
        assert CountingFiles.bytes_read <= 300_000
        np.testing.assert_array_equal(mask, ragged_label_map(number))
        np.testing.assert_array_equal(output.mask(images[number].image_id, study_id=images[number].study_id), mask)
