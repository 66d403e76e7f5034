"""Sets the encoder's weights from Keras's Xception without its top (`xception_weights_…_notop.h5`)."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights.hdf5_arrays import NameReader, float_array, read_array, refuse_foreign_values
from diagchd_batch.model.weights.layer_names import RESIDUAL_BLOCKS

if TYPE_CHECKING:
    import keras

_ENCODER_LAYER = re.compile(r"block(?:[1-9]|1[0-3])_.*")
_AUTOMATIC = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


def load_encoder(model: "keras.Model", path: str | Path) -> None:
    """Set the weights of all layers of the encoder. After an error no weight has changed.

    Args:
        model: A network of the full width.
        path: The file of Keras's Xception, trained on ImageNet. Only arrays are read from it.

    Raises:
        WeightsError: The file does not exist, is no such file, or does not fit the network.
    """
    variables = {variable.path: variable for layer in model.layers for variable in layer.weights}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    with _encoder_arrays(path, shapes) as found:
        arrays = {name: read_array(array, shapes[name]) for name, array in found.items()}
    for name, values in arrays.items():
        variables[name].assign(values)


def check_encoder(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise an error unless a file fits the encoder of a network. Its values are not read.

    Args:
        path: The file of Keras's Xception.
        shapes: Variable path -> shape, for every variable of the network.

    Raises:
        WeightsError: The file does not exist, is no such file, or does not fit the network.
    """
    with _encoder_arrays(path, shapes):
        pass


@contextmanager
def _encoder_arrays(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, h5py.Dataset]]:
    """Open a file, and yield its array for each variable of the encoder, by the variable's path."""
    try:
        with h5py.File(path, "r") as file:
            refuse_foreign_values(file)
            yield _match(file, shapes)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"training.initial_weights: {path} is no readable HDF5 file of Keras's Xception ({error}); give the path "
            "of xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
        ) from error
    except WeightsError as error:
        raise WeightsError(
            f"training.initial_weights: {path} does not fit the network: {error}; these weights fit the full width of "
            "model diagchd alone"
        ) from error


def _match(file: h5py.File, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, h5py.Dataset]:
    """Return the array of each variable of the encoder. Within a layer the file has them in the order of `shapes`."""
    names = NameReader(file)
    stored = {name: names.read(file[name], "weight_names") for name in names.read(file, "layer_names")}
    ours = _names_in_file(stored)
    layers: dict[str, list[str]] = {}
    for path in shapes:
        layers.setdefault(path.rpartition("/")[0], []).append(path)
    arrays = {}
    for layer, variables in layers.items():
        if not _ENCODER_LAYER.fullmatch(layer):
            continue
        name = ours.get(layer, layer)
        if len(stored.get(name, ())) != len(variables):
            raise WeightsError(f"it has not the arrays of layer {layer}")
        for path, key in zip(variables, stored[name], strict=True):
            array = float_array(file[name][key])
            if array.shape != shapes[path]:
                raise WeightsError(f"layer {layer} has shape {array.shape}, the network {shapes[path]}")
            arrays[path] = array
    return arrays


def _names_in_file(stored: dict[str, list[str]]) -> dict[str, str]:
    """Return the names in the file of the layers that Keras names by numbers: the residual paths of blocks 2 to 4."""
    found: dict[str, list[tuple[int, str]]] = {"conv2d": [], "batch_normalization": []}
    for name in stored:
        if match := _AUTOMATIC.fullmatch(name):
            found[match[1]].append((int(match[2] or 0), name))
    names: dict[str, str] = {}
    for kind, suffix in (("conv2d", ""), ("batch_normalization", "_bn")):
        in_order = [name for _, name in sorted(found[kind])]
        names |= dict(zip((f"block{block}_residual{suffix}" for block in RESIDUAL_BLOCKS), in_order, strict=False))
    return names
