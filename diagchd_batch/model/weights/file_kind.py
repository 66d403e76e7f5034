"""Tells without Keras whether a file can be a checkpoint, so that a wrong file is refused before any work begins."""

from pathlib import Path

from diagchd_batch.errors import WeightsError

OWN_FORMAT = "diagchd_batch_weights"
"""The attribute that marks files in this program's own format (`own_format`). Its value is the format's version."""

_KERAS_2 = ("layer_names", "layer_names0")
_ACCEPTED = "give a .h5 file of Keras 2 (model.save or model.save_weights), or one that save_checkpoint wrote"


def refuse_no_checkpoint(path: Path) -> None:
    """Raise an error if a file is no checkpoint. Whether its arrays fit a network is seen by `matching`.

    Raises:
        WeightsError: The file is no HDF5 file, or holds something else.
    """
    import h5py  # bundled weights and weights from a seed do not need it

    from diagchd_batch.model.weights.hdf5_arrays import refuse_foreign_values

    try:
        with h5py.File(path, "r") as file:
            refuse_foreign_values(file)
            group = file.get("model_weights", file)
            if OWN_FORMAT in file.attrs or any(name in group.attrs for name in _KERAS_2):
                return
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:  # what h5py raises on damaged files
        raise WeightsError(f"model.weights: {path} is no readable HDF5 file: {_kind(path)}; {_ACCEPTED}") from error
    except WeightsError as error:
        raise WeightsError(f"model.weights: checkpoint {path} is refused: {error}") from error
    raise WeightsError(
        f"model.weights: {path} is HDF5, but neither a Keras 2 checkpoint nor one of ours (no layer names in it); "
        f"{_ACCEPTED}"
    )


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, fetch the file itself with git lfs pull"
    if start.startswith(b"PK"):
        return "it is a zip file, as Keras 3 saves .keras"
    return "it is empty" if not start else "it is damaged, cut short or of another kind"
