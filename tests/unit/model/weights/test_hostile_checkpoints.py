"""Checkpoints that refer to other files, or that need far more memory than their arrays, are refused unread."""

import os
import resource
import shutil
import signal
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from diagchd_batch.errors import WeightsError
from diagchd_batch.model import build_network, load_checkpoint, save_checkpoint
from diagchd_batch.model.weights.checkpoints import fill_from_seed
from diagchd_batch.model.weights.file_kind import refuse_no_checkpoint
from tests.unit.model.weights.variables import variables

KERNEL = "conv4_r1_conv1/kernel"
FIFO = "fifo.h5"


@pytest.fixture(scope="module")
def network() -> keras.Model:
    network = build_network("diagchd-compact", 32, 32)
    fill_from_seed(network, 1)
    return network


@pytest.fixture(scope="module")
def saved(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "weights.h5"
    save_checkpoint(network, path)
    return path


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a good checkpoint beside a pipe that nobody writes to. Opening the pipe would block until the alarm."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(saved, tmp_path / "weights.h5")
    os.mkfifo(tmp_path / FIFO)
    signal.alarm(60)
    yield tmp_path / "weights.h5"
    signal.alarm(0)


def external_link(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink(FIFO, "/kernel")


def external_link_to_the_group_of_keras(file: h5py.File) -> None:
    file["model_weights"] = h5py.ExternalLink(FIFO, "/")


def soft_link_to_an_external_link(file: h5py.File) -> None:
    external_link(file)
    file.move(KERNEL, "elsewhere")
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    view = h5py.VirtualLayout(shape=shape, dtype="f4", maxshape=(None, *shape[1:]))
    source = h5py.VirtualSource(FIFO, "kernel", shape=shape, maxshape=(None, *shape[1:]))
    view[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset(KERNEL, view)


def external_storage(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape=shape, dtype="f4", external=[(FIFO, 0, 4 * int(np.prod(shape)))])


FOREIGN = [external_link, external_link_to_the_group_of_keras, soft_link_to_an_external_link, virtual, external_storage]


@pytest.mark.parametrize("change", FOREIGN)
def test_what_refers_to_another_place_is_refused_before_that_is_opened(
    network: keras.Model, checkpoint: Path, change: Callable[[h5py.File], None]
) -> None:
    with h5py.File(checkpoint, "a") as file:
        change(file)
    for load in (refuse_no_checkpoint, lambda path: load_checkpoint(network, path)):
        with pytest.raises(WeightsError, match="write a checkpoint that holds") as caught:
            load(checkpoint)
        assert "weights.h5" in str(caught.value)


def test_a_pipe_is_no_checkpoint(network: keras.Model, checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load_checkpoint(network, checkpoint.with_name(FIFO))


def _chunked(file: h5py.File, **options: object) -> h5py.Dataset:
    values = file[KERNEL][...]
    del file[KERNEL]
    return file.create_dataset(KERNEL, data=values, **options)


def large_chunks(file: h5py.File) -> None:
    _, *rest = file[KERNEL].shape
    _chunked(file, chunks=(1 << 10, *rest), maxshape=(None, *rest), compression="gzip")


def bomb(file: h5py.File) -> None:
    array = _chunked(file, chunks=file[KERNEL].shape, compression="gzip")
    array.id.write_direct_chunk((0,) * array.ndim, zlib.compress(bytes(1000 * array.nbytes)))


def small_bomb(file: h5py.File) -> None:
    array = _chunked(file, chunks=file[KERNEL].shape, compression="gzip", shuffle=True, fletcher32=True)
    array.id.write_direct_chunk((0,) * array.ndim, zlib.compress(bytes(2 * array.nbytes)))


def another_filter(file: h5py.File) -> None:
    _chunked(file, chunks=file[KERNEL].shape, compression="lzf")


def twice_compressed(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(shape)
    for _ in range(2):
        properties.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (6,))
    group, name = KERNEL.split("/")
    h5py.h5d.create(
        file.require_group(group).id,
        name.encode(),
        h5py.h5t.NATIVE_FLOAT,
        h5py.h5s.create_simple(shape),
        dcpl=properties,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (large_chunks, "are larger than the array"),
        (bomb, "holds more than"),
        (small_bomb, "holds more than"),
        (another_filter, "a compression that this program does not take"),
        (twice_compressed, "a compression that this program does not take"),
    ],
)
def test_storage_that_needs_more_memory_than_its_values_is_refused(
    network: keras.Model, checkpoint: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with h5py.File(checkpoint, "a") as file:
        change(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=rf"{message}.*h5repack"):
        load_checkpoint(network, checkpoint)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def long_names(file: h5py.File) -> None:
    """Let all names refer to one text of 10 MB, as no real writer does. 40 kB of references then need 25 GB."""
    texts = file.create_dataset("texts", shape=(2,), dtype=h5py.string_dtype())
    texts[0] = "x" * 10_000_000
    file.attrs.create("layer_names", np.array(["x"] * 2_500, dtype=object), dtype=h5py.string_dtype())


def names_that_are_numbers(file: h5py.File) -> None:
    file.attrs["layer_names"] = np.zeros((50, 50))


def too_many_names(file: h5py.File) -> None:
    file.attrs["layer_names"] = np.array([b"x"] * 20_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (long_names, "needs more than"),
        (names_that_are_numbers, "not a list of up to 10,000 names"),
        (too_many_names, "not a list of up to 10,000 names"),
    ],
)
def test_lists_of_names_are_bounded(
    network: keras.Model, tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path: Path = tmp_path / "weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        change(file)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(network, path)


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shuffle": True, "fletcher32": True}])
def test_a_compressed_checkpoint_loads_to_the_same_weights(
    network: keras.Model, checkpoint: Path, options: dict[str, Any]
) -> None:
    before = [variable.numpy() for variable in network.weights]
    with h5py.File(checkpoint, "a") as file:
        _chunked(file, compression="gzip", **options)
    other = variables(network)
    load_checkpoint(other, checkpoint)
    assert all(np.array_equal(one, two.numpy()) for one, two in zip(before, other.weights, strict=True))
