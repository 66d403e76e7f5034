"""Reads the Keras 2 checkpoints of the original: HDF5 files of a whole model or of its weights.

The arrays lie under `model_weights` (whole model) or at the root (weights only). Each layer is a group, whose
`weight_names` attribute lists its arrays. A file may also hold the configuration of the model with pickled byte code;
it is never read. Layers that the original names are matched by name, the others by their order of creation
(`layer_names`).
"""

import re
from collections.abc import Mapping

import h5py

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.weights.hdf5_arrays import OTHER_NETWORK, SAVE_AGAIN, NameReader, float_array
from diagchd_batch.model.weights.layer_names import automatic_layers

Stored = dict[str, h5py.Dataset]
"""Variable name -> array in the file. It is read only after its shape was checked: it could be larger than memory."""

_AUTOMATIC_NAME = re.compile(r"(conv2d|conv2d_transpose|batch_normalization)(?:_(\d+))?")


def match(file: h5py.File, shapes: Mapping[str, tuple[int, ...]]) -> Stored:
    """Return the arrays of a file, and read none of their values.

    Args:
        file: An open file of Keras 2.
        shapes: Variable path, ``layer/variable`` -> shape, for every variable of the network.

    Returns:
        Variable path -> array of floating-point numbers of the variable's shape, for every variable.

    Raises:
        WeightsError: The file does not fit the network. The message says where.
    """
    stored = _find_layers(file)
    names = _match_names(stored)
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        layer, _, variable = path.rpartition("/")
        layers.setdefault(layer, {})[variable] = shape
    arrays: Stored = {}
    for layer, variables in layers.items():
        if layer not in names:
            raise WeightsError(f"it has no layer {layer}; {OTHER_NETWORK}")
        theirs = names[layer]
        arrays |= _match_arrays(layer, variables, theirs, stored[theirs])
    known = {names[layer] for layer in layers}
    if surplus := sorted(stored.keys() - known):
        raise WeightsError(
            f"{len(surplus)} of its layers are not of this network, the first is {surplus[0]}; {OTHER_NETWORK}"
        )
    return arrays


def _find_layers(file: h5py.File) -> dict[str, Stored]:
    """Return the arrays of each layer by the name of the layer in the file. Layers without arrays are left out."""
    group = file.get("model_weights", file)
    if "layer_names" not in group.attrs and "layer_names0" not in group.attrs:
        raise WeightsError(
            f"it is HDF5, but has no layer names: neither a Keras 2 checkpoint nor one of ours; {SAVE_AGAIN}"
        )
    layers = {}
    names = NameReader(file)
    for name in _texts(names, group, "layer_names"):
        layer = group[name]
        weights = {
            _variable_name(weight): float_array(layer[weight]) for weight in _texts(names, layer, "weight_names")
        }
        if weights:
            layers[name] = weights
    return layers


def _texts(names: NameReader, group: h5py.Group, name: str) -> list[str]:
    """Return an attribute that is a list of names. Keras splits a list that is too long into `name0`, `name1`, …"""
    if name in group.attrs:
        return names.read(group, name)
    texts: list[str] = []
    n_parts = 0
    while f"{name}{n_parts}" in group.attrs:
        texts += names.read(group, f"{name}{n_parts}")
        n_parts += 1
    return texts


def _variable_name(weight: str) -> str:
    """Return the name of a variable, such as `kernel` for `conv2d_17/kernel:0`."""
    return weight.rsplit("/", 1)[-1].split(":")[0]


def _match_names(stored: dict[str, Stored]) -> dict[str, str]:
    """Return the name of each layer in the file by this program's name for it."""
    automatic: dict[str, list[tuple[int, str]]] = {kind: [] for kind in automatic_layers()}
    names = {}
    for name in stored:
        if match := _AUTOMATIC_NAME.fullmatch(name):
            automatic[match[1]].append((int(match[2] or 0), name))
        else:
            names[name] = name
    for kind, ours in automatic_layers().items():
        theirs = [name for _, name in sorted(automatic[kind])]
        if len(theirs) != len(ours):
            raise WeightsError(
                f"it has {len(theirs)} layers named {kind}_…, the network has {len(ours)}; {OTHER_NETWORK}"
            )
        names |= dict(zip(ours, theirs, strict=True))
    return names


def _match_arrays(layer: str, variables: Mapping[str, tuple[int, ...]], theirs: str, stored: Stored) -> Stored:
    label = layer if theirs == layer else f"{theirs} (our {layer})"
    arrays: Stored = {}
    for variable, shape in variables.items():
        if variable not in stored:
            raise WeightsError(f"layer {label} has no {variable}, only {', '.join(sorted(stored))}; {OTHER_NETWORK}")
        found = stored[variable]
        if found.shape != shape:
            raise WeightsError(
                f"{variable} of layer {label} has shape {found.shape}, the network needs {shape}; {OTHER_NETWORK}"
            )
        arrays[f"{layer}/{variable}"] = found
    if len(stored) > len(arrays):
        raise WeightsError(f"layer {label} has {len(stored)} arrays, the network's has {len(arrays)}; {OTHER_NETWORK}")
    return arrays
