"""Tells without Keras whether a checkpoint holds the arrays of a network. Their values are not read."""

from collections.abc import Mapping
from pathlib import Path

import h5py

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights import original_format, own_format
from diagchd_batch.model.weights.hdf5_arrays import refuse_foreign_values
from diagchd_batch.model.weights.variable_shapes import variable_shapes


def match_arrays(file: h5py.File, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, h5py.Dataset]:
    """Return the arrays of a checkpoint that belong to the variables of a network.

    Args:
        file: The open checkpoint, of this program's own format or of Keras 2.
        shapes: Variable path -> shape, for every variable of the network.

    Returns:
        Variable path -> array of floating-point numbers of the variable's shape, for every variable.

    Raises:
        WeightsError: The checkpoint refers to other files, or does not fit the network. The message says where.
    """
    refuse_foreign_values(file)
    reader = own_format if own_format.recognises(file) else original_format
    return reader.match(file, shapes)


def refuse_other_network(path: Path, what: str, model: str, widths: Mapping[str, float]) -> None:
    """Raise an error unless a checkpoint fits a model.

    Args:
        path: The checkpoint.
        what: What the checkpoint is for, such as the key of the job file. The message begins with it.
        model: The model's name, a key of `widths`.
        widths: Model name -> width factor, also of the other models that the checkpoint may be of.

    Raises:
        WeightsError: The checkpoint does not fit. The message names the model that it fits, or says where it differs.
    """
    misfit = _misfit(path, widths[model])
    if misfit is None:
        return
    others = [name for name in widths if name != model and widths[name] != widths[model]]
    fitting = [name for name in others if _misfit(path, widths[name]) is None]
    if fitting:
        misfit = (
            f"it holds the weights of {fitting[0]}; set model.name to {fitting[0]}, or give a checkpoint of {model}"
        )
    raise WeightsError(f"{what}: checkpoint {path} does not fit model {model}: {misfit}")


def _misfit(path: Path, width_factor: float) -> str | None:
    """Return where a checkpoint differs from the network of this width and what to do, or None if it fits."""
    try:
        with h5py.File(path, "r") as file:
            match_arrays(file, variable_shapes(width_factor))
    except WeightsError as error:
        return str(error)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # what h5py raises on damaged files
        return f"it is damaged ({error}); restore it"
    return None
