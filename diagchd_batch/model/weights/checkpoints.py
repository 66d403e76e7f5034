"""Weights in and out of a network, as arrays alone: nothing that a file holds is ever deserialised or executed.

`load_checkpoint` understands two kinds of HDF5 file, told apart by their attributes: our own (`own_format`) and the
original's Keras 2 files (`original_format`). `fill_from_seed` gives weights without any file.
"""

from pathlib import Path

import h5py
import keras
import numpy as np

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights import original_format, own_format


def load_checkpoint(model: keras.Model, path: str | Path) -> None:
    """Set every weight of `model` (from `build_network`) from a checkpoint; all of them or, on an error, none.

    Takes files of `save_checkpoint` and of Keras 2 (`model.save("….h5")` or `model.save_weights("….h5")` of the
    original's network). Raises WeightsError that says what does not fit.
    """
    try:
        with h5py.File(path, "r") as file:
            reader = own_format if own_format.recognises(file) else original_format
            arrays = reader.read(file, model)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # what h5py raises on damaged files
        reason = f"it does not exist or is not a readable HDF5 file ({error})"
        raise WeightsError(
            f"checkpoint {path} cannot be used: {reason}; give a .h5 written by Keras 2 or by us"
        ) from error
    except WeightsError as error:
        raise WeightsError(f"checkpoint {path} does not fit {model.name}: {error}") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise WeightsError(f"checkpoint {path} is damaged: {name} holds values that are not finite numbers")
        if name.endswith("moving_variance") and (values < 0).any():  # its square root would be no number
            raise WeightsError(f"checkpoint {path} is damaged: {name} holds variances below zero")
    for variable in model.weights:
        variable.assign(arrays[variable.path])


def save_checkpoint(model: keras.Model, path: str | Path, dtype: str = "float32") -> None:
    """Write all weights to `path` in our own format; ``float16`` halves the file. Equal weights give equal bytes."""
    own_format.write(model, path, dtype)


def fill_from_seed(model: keras.Model, seed: int) -> None:
    """Pseudo-random weights that depend on each variable's kind and shape alone, equal on every machine.

    With k = 0, 1, … over a variable's elements in C order plus 7919 · `seed`, s = sin(0.7 k + 0.3) +
    sin(0.013 k² mod 2π): kernels are s · sqrt(1 / fan-in), biases 0.1 · cos(0.5 k), gammas 1 + 0.2 · sin(0.5 k), moving
    means 0.1 · sin(0.9 k) and variances 1 + 0.3 · cos(0.9 k).
    """
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(_seeded(layer, variable.name, tuple(variable.shape), seed))


def _seeded(layer: keras.Layer, name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    k = np.arange(np.prod(shape), dtype=np.float64) + 7919 * seed
    if name.endswith("kernel"):
        values = np.sin(0.7 * k + 0.3) + np.sin(np.mod(0.013 * k * k, 2 * np.pi))
        values *= np.sqrt(1 / _fan_in(layer, name, shape))
    else:
        values = {
            "bias": 0.1 * np.cos(0.5 * k),
            "beta": 0.1 * np.cos(0.5 * k),
            "gamma": 1 + 0.2 * np.sin(0.5 * k),
            "moving_mean": 0.1 * np.sin(0.9 * k),
            "moving_variance": 1 + 0.3 * np.cos(0.9 * k),
        }[name]
    return values.reshape(shape).astype(np.float32)


def _fan_in(layer: keras.Layer, name: str, shape: tuple[int, ...]) -> float:
    """Number of inputs that one output sums; a transposed convolution of stride 2 spreads its kernel over four."""
    if name == "depthwise_kernel":
        return shape[0] * shape[1]
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return shape[0] * shape[1] * shape[3] / 4
    return np.prod(shape) / shape[-1]
