"""Access to the arrays of an HDF5 checkpoint, provided that the file holds them itself and in a bounded way.

Whoever sends a checkpoint decides what its links name and how its arrays are stored. HDF5 can refer to other files by
links, external storage and virtual datasets. Values there could change while the digest of the checkpoint, by which a
run knows its weights, stays the same; opening one could wait for ever, or read what its sender may not. A small file
can also declare chunks, or hold compressed data, that need far more memory than the array. Everything here is therefore
checked in the description of an object, before the object is followed or its values are read.
"""

import mmap
import zlib
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from diagchd_batch.errors import WeightsError

_MAX_OBJECTS = 20_000
"""A Keras 2 file of the largest bundled network with its optimizer holds about 3,000."""

_MAX_ITEM_BYTES = 8
_MAX_NAMES = 10_000
_MAX_BYTES_OF_NAMES = 512 << 20
_HEAP = b"GCOL\x01\0\0\0"
"""What a heap for texts of variable length begins with, in version 1. Its size follows, in 8 bytes."""

_CHECKSUM_BYTES = 4
_UNCOMPRESSED = "write it without compression (h5repack with -f NONE and -l CONTI)"

OTHER_NETWORK = "give a checkpoint of this network, or set model.name to the network that this checkpoint is of"
"""What to do about arrays that do not fit."""

SAVE_AGAIN = "save it again with Keras 2 or save_checkpoint"
"""What to do about a file that has the arrays of the network, but not as their writers store them."""


def refuse_foreign_values(file: h5py.File) -> None:
    """Refuse a checkpoint that refers to other files.

    No link is followed before its kind is known, and no shape of a virtual dataset is asked for, because both open
    other files. Call this before anything else reads the file. Afterwards soft links may be followed: they name objects
    by paths, and each object that has a path was checked here.

    Args:
        file: The open checkpoint.

    Raises:
        WeightsError: The file has an external link, a virtual dataset, external storage, or too many objects.
    """
    seen: set[int] = set()
    waiting: list[h5py.Group] = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            place = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise WeightsError(
                    f"the values of {place}/… lie in another file; write a checkpoint that holds them itself"
                )
            if isinstance(link, h5py.SoftLink):
                continue
            item = group[name]
            address = address_of(item)
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise WeightsError(f"it holds more than {_MAX_OBJECTS:,} objects; give the checkpoint of one network")
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                raise WeightsError(
                    f"the values of {place} lie in another file; write a checkpoint that holds them itself"
                )


def address_of(item: h5py.HLObject) -> int:
    """Return the place of an object in its file. Two links lead to one object if the places are equal."""
    address: int = h5py.h5o.get_info(item.id).addr
    return address


def read_array(item: h5py.HLObject, shape: tuple[int, ...]) -> np.ndarray:
    """Return the values of an array of floating-point numbers.

    Args:
        item: An object found in a checkpoint that `refuse_foreign_values` has passed.
        shape: The shape that the network needs. The caller has compared it already, to say what does not fit.

    Returns:
        float32, of shape `shape`.

    Raises:
        WeightsError: It is no such array, or its storage needs more memory than its values.
    """
    array = float_array(item)
    if array.shape != shape:
        raise WeightsError(f"{array.name} has shape {array.shape}, the network needs {shape}; {OTHER_NETWORK}")
    if array.chunks is not None:
        _refuse_large_chunks(array)
    _refuse_unwritten_values(array)
    return array[...].astype(np.float32)


def float_array(item: h5py.HLObject) -> h5py.Dataset:
    """Return `item` if it is an array of floating-point numbers of at most 64 bits. Its values are not read.

    Raises:
        WeightsError: It is no such array.
    """
    if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f" or item.dtype.itemsize > _MAX_ITEM_BYTES:
        raise WeightsError(f"{item.name} is not an array of floating-point numbers of at most 64 bits; {SAVE_AGAIN}")
    return item


class NameReader:
    """Reads the attributes of one open file that are lists of names.

    A file of Keras has such a list in every layer. One reader serves them all, because it may have to search the whole
    file for the size of its texts.
    """

    def __init__(self, file: h5py.File) -> None:
        self._path = Path(file.filename)

    def read(self, item: h5py.Group, name: str) -> list[str]:
        """Return an attribute that is a list of names.

        Args:
            item: The group that has the attribute.
            name: The attribute.

        Raises:
            WeightsError: It is something else, or needs more memory than the names of any network.
        """
        described = item.attrs.get_id(name)
        n_names = int(np.prod(described.shape, dtype=np.float64))
        if not n_names:
            return []
        text = h5py.check_string_dtype(described.dtype)
        if n_names > _MAX_NAMES or text is None:
            raise WeightsError(
                f"its attribute {name} is not a list of up to {_MAX_NAMES:,} names, as Keras writes them; {SAVE_AGAIN}"
            )
        # Texts of variable length may all refer to one large text in the file.
        largest_bytes = text.length or self._largest_heap_bytes
        if n_names * largest_bytes > _MAX_BYTES_OF_NAMES:
            raise WeightsError(f"its attribute {name} needs more than {_MAX_BYTES_OF_NAMES:,} bytes; {SAVE_AGAIN}")
        return [text.decode() if isinstance(text, bytes) else str(text) for text in np.ravel(item.attrs[name])]

    @cached_property
    def _largest_heap_bytes(self) -> int:
        """An upper bound of the size of any text of variable length: the size of the largest heap for such texts."""
        largest_bytes = 1
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(_HEAP)
            while start >= 0:
                end = start + len(_HEAP)
                largest_bytes = max(largest_bytes, int.from_bytes(content[end : end + 8], "little"))
                start = content.find(_HEAP, end)
        return largest_bytes


def _refuse_unwritten_values(array: h5py.Dataset) -> None:
    """Refuse an array that was declared but not written as a whole. HDF5 would return its fill value, zero."""
    if array.chunks is None:
        written = array.id.get_storage_size() >= array.size * array.id.get_type().get_size()
    else:
        written = array.id.get_num_chunks() >= _chunks_of_shape(array)
    if not written:
        raise WeightsError(f"{array.name} was declared, but its values were not all written; {SAVE_AGAIN}")


def _chunks_of_shape(array: h5py.Dataset) -> int:
    return int(np.prod([-(-size // of) for size, of in zip(array.shape, array.chunks, strict=True)]))


def _refuse_large_chunks(array: h5py.Dataset) -> None:
    """Refuse chunks that hold more than the array, or that grow beyond their size when they are decompressed."""
    chunk_bytes = int(np.prod(array.chunks, dtype=np.float64)) * array.dtype.itemsize
    if any(of > size for size, of in zip(array.shape, array.chunks, strict=True)):
        raise WeightsError(f"the chunks {array.chunks} of {array.name} are larger than the array; {_UNCOMPRESSED}")
    filters = array.id.get_create_plist()
    codes = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
    if not codes:
        return
    known = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)
    if codes != [code for code in known if code in codes]:  # in this order, each once at most, and no other
        raise WeightsError(f"{array.name} is stored in a compression that this program does not take; {_UNCOMPRESSED}")
    if array.id.get_num_chunks() > _chunks_of_shape(array):
        raise WeightsError(f"{array.name} has more chunks than its shape needs; {_UNCOMPRESSED}")
    # What zlib adds at most to data that cannot be compressed, and a checksum.
    largest_stored_bytes = chunk_bytes + chunk_bytes // 1000 + 64 + _CHECKSUM_BYTES
    for number in range(array.id.get_num_chunks()):
        chunk = array.id.get_chunk_info(number)
        if chunk.size > largest_stored_bytes or (
            h5py.h5z.FILTER_DEFLATE in codes and _inflates_beyond(array, chunk.chunk_offset, chunk_bytes)
        ):
            raise WeightsError(f"a chunk of {array.name} holds more than {chunk_bytes} bytes; {_UNCOMPRESSED}")


def _inflates_beyond(array: h5py.Dataset, offset: tuple[int, ...], limit_bytes: int) -> bool:
    """Return whether a compressed chunk holds more than `limit_bytes`. HDF5 itself would take any memory it needs."""
    _, stored = array.id.read_direct_chunk(offset)
    try:
        return len(zlib.decompressobj().decompress(stored, limit_bytes + 1)) > limit_bytes
    except zlib.error:  # HDF5 refuses it when it reads the chunk
        return False
