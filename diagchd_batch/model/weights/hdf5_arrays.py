"""Arrays of an HDF5 checkpoint, as far as their values lie in that very file."""

import h5py

from diagchd_batch.errors import WeightsError


def own_array(item: h5py.HLObject, file: h5py.File) -> h5py.Dataset:
    """`item`, if it is an array of floating-point numbers whose values lie in `file`; they are not read yet.

    HDF5 can refer to other files: by links, by external storage, by virtual datasets. Their values could change while
    the checkpoint's digest, by which a run knows its weights, stays the same. Raises WeightsError.
    """
    if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
        raise WeightsError(f"{item.name} is not an array of floating-point numbers")
    if item.file.filename != file.filename or item.is_virtual or item.external:
        raise WeightsError(f"the values of {item.name} lie in another file; write a checkpoint that holds them itself")
    return item
