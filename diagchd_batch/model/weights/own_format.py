"""Our checkpoint format: one HDF5 dataset per variable, named by its path (`conv4_r1_conv1/kernel`), in float32 or
float16, and a format attribute."""

from pathlib import Path

import h5py
import keras
import numpy as np

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights.checkpoint_file import OWN_FORMAT
from diagchd_batch.model.weights.hdf5_arrays import own_array

_VERSION = 1


def recognises(file: h5py.File) -> bool:
    return OWN_FORMAT in file.attrs


def write(model: keras.Model, path: str | Path, dtype: str) -> None:
    with h5py.File(path, "w", track_order=False) as file:
        file.attrs[OWN_FORMAT] = _VERSION
        for variable in sorted(model.weights, key=lambda variable: variable.path):
            with np.errstate(over="ignore"):  # looked for below
                values = keras.ops.convert_to_numpy(variable).astype(dtype)
            if not np.isfinite(values).all():
                raise WeightsError(f"{variable.path} has values that {dtype} cannot hold; save it as float32")
            file.create_dataset(variable.path, data=values, track_times=False)


def read(file: h5py.File, model: keras.Model) -> dict[str, np.ndarray]:
    """Variable path -> float32 array of that variable's shape. Raises WeightsError."""
    if file.attrs[OWN_FORMAT] != _VERSION:
        raise WeightsError(
            f"it is of format {file.attrs[OWN_FORMAT]}, this program reads {_VERSION}; update the program"
        )
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    if missing := sorted(expected.keys() - found.keys()):
        raise WeightsError(f"{len(missing)} variables are missing, the first is {missing[0]}")
    if surplus := sorted(found.keys() - expected.keys()):
        raise WeightsError(f"{len(surplus)} variables are not of this network, the first is {surplus[0]}")
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise WeightsError(f"{name} has shape {found[name].shape}, the network needs {shape}")
    return {name: own_array(found[name], file)[...].astype(np.float32) for name in expected}
