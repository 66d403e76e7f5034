"""Sets the encoder's weights from Keras's Xception without its top (`xception_weights_…_notop.h5`)."""

import re
from pathlib import Path

import h5py
import keras

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights.hdf5_arrays import NameReader, float_array, read_array, refuse_foreign_values
from diagchd_batch.model.weights.layer_names import RESIDUAL_BLOCKS

_ENCODER_LAYER = re.compile(r"block(?:[1-9]|1[0-3])_.*")
_AUTOMATIC = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


def load_encoder(model: keras.Model, path: str | Path) -> None:
    """Set the weights of all layers of the encoder. After an error no weight has changed.

    Args:
        model: A network of the full width.
        path: The file of Keras's Xception, trained on ImageNet. Only arrays are read from it.

    Raises:
        WeightsError: The file does not exist, is no such file, or does not fit the network.
    """
    try:
        with h5py.File(path, "r") as file:
            refuse_foreign_values(file)
            names = NameReader(file)
            stored = {name: names.read(file[name], "weight_names") for name in names.read(file, "layer_names")}
            ours = _names_in_file(stored)
            arrays = []
            for layer in model.layers:
                if not layer.weights or not _ENCODER_LAYER.fullmatch(layer.name):
                    continue
                name = ours.get(layer.name, layer.name)
                if len(stored.get(name, ())) != len(layer.weights):
                    raise WeightsError(f"it has not the arrays of layer {layer.name}")
                for variable, key in zip(layer.weights, stored[name], strict=True):
                    dataset = float_array(file[name][key])
                    if dataset.shape != tuple(variable.shape):
                        raise WeightsError(
                            f"layer {layer.name} has shape {dataset.shape}, the network {tuple(variable.shape)}"
                        )
                    arrays.append((variable, read_array(dataset, tuple(variable.shape))))
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
    for variable, values in arrays:
        variable.assign(values)


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
