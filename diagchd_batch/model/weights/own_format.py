"""This program's own checkpoint format: an HDF5 file with one dataset for each variable.

A dataset is named by the path of its variable (`conv4_r1_conv1/kernel`) and holds float32 or float16. An attribute of
the file holds the version of the format.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights.file_kind import OWN_FORMAT
from diagchd_batch.model.weights.hdf5_arrays import OTHER_NETWORK, SAVE_AGAIN, address_of, float_array

if TYPE_CHECKING:
    import keras

_VERSION = 1


def recognises(file: h5py.File) -> bool:
    """Return whether a file is of this format, whatever its version."""
    return OWN_FORMAT in file.attrs


def write(model: "keras.Model", path: str | Path, dtype: str) -> None:
    """Write all weights of a model.

    Args:
        model: The model.
        path: Where to write; a file that is there is replaced.
        dtype: ``float32`` or ``float16``.

    Raises:
        WeightsError: A value is too large for `dtype`.
    """
    import keras  # readers do not need it

    with h5py.File(path, "w", track_order=False) as file:
        file.attrs[OWN_FORMAT] = _VERSION
        for variable in sorted(model.weights, key=lambda variable: variable.path):
            with np.errstate(over="ignore"):  # the next lines look for values that overflowed
                values = keras.ops.convert_to_numpy(variable).astype(dtype)
            if not np.isfinite(values).all():
                raise WeightsError(f"{variable.path} has values that {dtype} cannot hold; save it as float32")
            file.create_dataset(variable.path, data=values, track_times=False)


def match(file: h5py.File, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, h5py.Dataset]:
    """Return the arrays of a file, and read none of their values.

    Args:
        file: An open file of this format.
        shapes: Variable path -> shape, for every variable of the network.

    Returns:
        Variable path -> array of floating-point numbers of the variable's shape, for every variable.

    Raises:
        WeightsError: The file has another version, or does not fit the network.
    """
    described = file.attrs.get_id(OWN_FORMAT)
    if described.shape != () or described.dtype.kind not in "iu":
        raise WeightsError(f"its attribute {OWN_FORMAT} is not a number; {SAVE_AGAIN}")
    version = file.attrs[OWN_FORMAT]
    if version != _VERSION:
        raise WeightsError(f"it is of format {version}, this program reads {_VERSION}; update the program")
    found = {name: item for name in shapes if (item := file.get(name)) is not None}  # this follows links
    if missing := sorted(shapes.keys() - found.keys()):
        raise WeightsError(f"{len(missing)} variables are missing, the first is {missing[0]}; {OTHER_NETWORK}")
    if surplus := _surplus(file, {address_of(item) for item in found.values()}):
        raise WeightsError(
            f"{len(surplus)} variables are not of this network, the first is {surplus[0]}; {OTHER_NETWORK}"
        )
    for name, shape in shapes.items():
        float_array(found[name])
        if found[name].shape != shape:
            raise WeightsError(f"{name} has shape {found[name].shape}, the network needs {shape}; {OTHER_NETWORK}")
    return found


def _surplus(file: h5py.File, known: set[int]) -> list[str]:
    """Return the names of arrays whose address is not in `known`."""
    arrays: list[str] = []

    def note(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and address_of(item) not in known:
            arrays.append(name)

    file.visititems(note)
    return sorted(arrays)
