"""Whether a file can be a checkpoint at all, told without Keras, before a cluster is started for it."""

from pathlib import Path

from diagchd_batch.errors import WeightsError

OURS = "diagchd_batch_weights"
"""The attribute of our own files (`own_format`)."""

_KERAS_2 = ("layer_names", "layer_names0")
_TAKEN = "give a .h5 of Keras 2 (model.save or model.save_weights) or one that train wrote"


def refuse_no_checkpoint(path: str) -> None:
    """Raises WeightsError for a file that is none; whether its arrays fit the network is seen when it is loaded."""
    import h5py  # not needed for bundled weights and seeds

    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            if OURS in file.attrs or any(name in group.attrs for name in _KERAS_2):
                return
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # what h5py raises on damaged files
        raise WeightsError(f"model.weights: {path} is no readable HDF5 file: {_kind(path)}; {_TAKEN}") from error
    raise WeightsError(
        f"model.weights: {path} is HDF5, but neither a Keras 2 checkpoint nor one of ours (no layer names in it); "
        f"{_TAKEN}"
    )


def _kind(path: str) -> str:
    with Path(path).open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, fetch the file itself with git lfs pull"
    if start.startswith(b"PK"):
        return "it is a zip file, as Keras 3 saves .keras"
    return "it is empty" if not start else "it is damaged, cut short or of another kind"
