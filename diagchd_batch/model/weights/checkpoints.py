"""Loads and saves the weights of a network. Only arrays are read: nothing in a file is deserialised or executed.

`load_checkpoint` reads two kinds of HDF5 file, which it distinguishes by their attributes: this program's own format
(`own_format`) and the Keras 2 files of the original (`original_format`). `fill_from_seed` needs no file.
"""

import errno
from pathlib import Path

import h5py
import keras
import numpy as np

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights import own_format
from diagchd_batch.model.weights.hdf5_arrays import SAVE_AGAIN, read_array
from diagchd_batch.model.weights.matching import match_arrays


def load_checkpoint(model: keras.Model, path: str | Path) -> None:
    """Set all weights of a model from a checkpoint. After an error no weight has changed.

    Args:
        model: A model from `build_network`.
        path: A file of `save_checkpoint`, or of Keras 2 (`model.save("….h5")` or `model.save_weights("….h5")` of the
            original's network).

    Raises:
        WeightsError: The file is no checkpoint, is damaged, or does not fit the model. The message says where.
    """
    shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
    try:
        if not Path(path).is_file():  # opening a pipe would wait for its writer
            raise FileNotFoundError(errno.ENOENT, "no such file")
        with h5py.File(path, "r") as file:
            found = match_arrays(file, shapes)
            arrays = {name: read_array(found[name], shape) for name, shape in shapes.items()}
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # what h5py raises on damaged files
        reason = f"it does not exist or is not a readable HDF5 file ({error})"
        raise WeightsError(
            f"checkpoint {path} cannot be used: {reason}; give a .h5 file of Keras 2, or one that save_checkpoint wrote"
        ) from error
    except WeightsError as error:
        raise WeightsError(f"checkpoint {path} does not fit {model.name}: {error}") from error
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise WeightsError(
                f"checkpoint {path} is damaged: {name} holds values that are not finite numbers; {SAVE_AGAIN}"
            )
        if name.endswith("moving_variance") and (values < 0).any():  # their square root would be NaN
            raise WeightsError(f"checkpoint {path} is damaged: {name} holds variances below zero; {SAVE_AGAIN}")
    for variable in model.weights:
        variable.assign(arrays[variable.path])


def save_checkpoint(model: keras.Model, path: str | Path, dtype: str = "float32") -> None:
    """Write all weights of a model in this program's own format. Equal weights give equal bytes.

    Args:
        model: A model from `build_network`.
        path: Where to write; a file that is there is replaced.
        dtype: ``float32``, or ``float16`` for a file of half the size.

    Raises:
        WeightsError: A value is too large for `dtype`.
    """
    own_format.write(model, path, dtype)


def fill_from_seed(model: keras.Model, seed: int) -> None:
    """Set pseudo-random weights, which depend only on the kind and shape of each variable. They mean nothing.

    For element number n of a variable, in C order, let k = n + 7919 · `seed` and
    s = sin(0.7 k + 0.3) + sin(0.013 k² mod 2π). Kernels are s · sqrt(1 / fan-in), biases and betas 0.1 · cos(0.5 k),
    gammas 1 + 0.2 · sin(0.5 k), moving means 0.1 · sin(0.9 k) and moving variances 1 + 0.3 · cos(0.9 k).

    Args:
        model: A model from `build_network`.
        seed: Any number; equal seeds give equal weights on every machine.
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
    """Return the number of inputs in the sum of one output.

    A transposed convolution of stride 2 spreads its kernel over four outputs.
    """
    if name == "depthwise_kernel":
        return shape[0] * shape[1]
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return shape[0] * shape[1] * shape[3] / 4
    return np.prod(shape) / shape[-1]
