"""Access to the arrays of an HDF5 checkpoint, provided that their values lie in the same file."""

import h5py

from diagchd_batch.errors import WeightsError


def own_array(item: h5py.HLObject, file: h5py.File) -> h5py.Dataset:
    """Return `item` if it is an array of floating-point numbers with its values in `file`. They are not read yet.

    HDF5 can refer to other files: by links, external storage and virtual datasets. Values there could change while the
    digest of the checkpoint, by which a run knows its weights, stays the same.

    Args:
        item: An object found in `file`.
        file: The open checkpoint.

    Raises:
        WeightsError: It is no such array.
    """
    if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
        raise WeightsError(f"{item.name} is not an array of floating-point numbers")
    if item.file.filename != file.filename or item.is_virtual or item.external:
        raise WeightsError(f"the values of {item.name} lie in another file; write a checkpoint that holds them itself")
    return item
