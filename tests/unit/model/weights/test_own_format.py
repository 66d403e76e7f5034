"""Checkpoints in this program's own format, and weights from a seed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from diagchd_batch.errors import WeightsError
from diagchd_batch.model import build_network, load_checkpoint, save_checkpoint
from diagchd_batch.model.weights.checkpoints import fill_from_seed
from diagchd_batch.model.weights.file_kind import refuse_no_checkpoint
from tests.unit.model.weights.variables import variables


@pytest.fixture(scope="module")
def network() -> keras.Model:
    network = build_network("diagchd-compact", 32, 32)
    fill_from_seed(network, 1)
    return network


@pytest.fixture(scope="module")
def saved(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of `network`, which tests copy and change."""
    path = tmp_path_factory.mktemp("saved") / "weights.h5"
    save_checkpoint(network, path)
    return path


@pytest.fixture(scope="module")
def target() -> keras.Model:
    """Return a network of another size, whose weights each test sets before it relies on them."""
    return build_network("diagchd-compact", 64, 32)


@pytest.mark.parametrize(("dtype", "largest_error"), [("float32", 0), ("float16", 2**-11)])
def test_round_trip(
    network: keras.Model, target: keras.Model, tmp_path: Path, dtype: str, largest_error: float
) -> None:
    path = tmp_path / "weights.h5"
    save_checkpoint(network, path, dtype)
    fill_from_seed(target, 2)
    load_checkpoint(target, path)  # weights do not depend on the grid
    for one, two in zip(network.weights, target.weights, strict=True):
        assert one.path == two.path
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=largest_error, atol=1e-7 if largest_error else 0)


def test_equal_weights_give_equal_files(network: keras.Model, target: keras.Model, tmp_path: Path) -> None:
    save_checkpoint(network, tmp_path / "one.h5", "float16")
    fill_from_seed(target, 1)
    save_checkpoint(target, tmp_path / "two.h5", "float16")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_values_too_large_for_float16_are_refused(target: keras.Model, tmp_path: Path) -> None:
    target.get_layer("head_conv").bias.assign([1e6, 0, 0])
    with pytest.raises(WeightsError, match="head_conv/bias has values that float16 cannot hold"):
        save_checkpoint(target, tmp_path / "weights.h5", "float16")


def rename(file: h5py.File) -> None:
    file.move("conv4_up/kernel", "conv4_up/kernels")


def surplus(file: h5py.File) -> None:
    file["conv9_up/kernel"] = [1.0]


def reshape(file: h5py.File) -> None:
    del file["head_conv/bias"]
    file["head_conv/bias"] = np.zeros(4)


def newer(file: h5py.File) -> None:
    file.attrs["diagchd_batch_weights"] = 2


def store_elsewhere(file: h5py.File) -> None:
    """Move the values of an array to a raw file beside the checkpoint."""
    raw = Path(file.filename).with_name("elsewhere.bin")
    file["head_conv/bias"][...].tofile(raw)
    del file["head_conv/bias"]
    file.create_dataset("head_conv/bias", shape=(3,), dtype="f4", external=[(str(raw), 0, 12)])


def make_virtual(file: h5py.File) -> None:
    """Replace an array by a view of an array in another HDF5 file."""
    other = Path(file.filename).with_name("elsewhere.h5")
    with h5py.File(other, "w") as source:
        source["bias"] = file["head_conv/bias"][...]
    del file["head_conv/bias"]
    view = h5py.VirtualLayout(shape=(3,), dtype="f4")
    view[:] = h5py.VirtualSource(other, "bias", shape=(3,))
    file.create_virtual_dataset("head_conv/bias", view)


def negative_variance(file: h5py.File) -> None:
    file["block1_conv1_bn/moving_variance"][0] = -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "1 variables are missing, the first is conv4_up/kernel"),
        (surplus, "not of this network, the first is conv9_up/kernel"),
        (reshape, r"head_conv/bias has shape \(4,\), the network needs \(3,\)"),
        (newer, "format 2, this program reads 1"),
        (store_elsewhere, "the values of /head_conv/bias lie in another file"),
        (make_virtual, "the values of /head_conv/bias lie in another file"),
        (negative_variance, "block1_conv1_bn/moving_variance holds variances below zero"),
    ],
)
def test_what_does_not_fit_is_named(
    saved: Path, target: keras.Model, tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = tmp_path / "weights.h5"
    shutil.copyfile(saved, path)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(target, path)


def soft_link(file: h5py.File) -> None:
    file.move("head_conv/bias", "elsewhere")
    file["head_conv/bias"] = h5py.SoftLink("/elsewhere")


def relative_soft_link(file: h5py.File) -> None:
    file.move("head_conv/bias", "head_conv/elsewhere")
    file["head_conv/bias"] = h5py.SoftLink("elsewhere")


def soft_link_to_a_group(file: h5py.File) -> None:
    file.move("head_conv", "a/b/elsewhere")
    file["head_conv"] = h5py.SoftLink("/a/b/elsewhere")


def chain_of_soft_links(file: h5py.File) -> None:
    soft_link_to_a_group(file)
    file["a/b/c"] = h5py.SoftLink("elsewhere")
    del file["head_conv"]
    file["head_conv"] = h5py.SoftLink("/a/b/c")


def hard_link(file: h5py.File) -> None:
    file["elsewhere"] = file["head_conv/bias"]


def hard_link_to_a_group(file: h5py.File) -> None:
    file["a_second_name"] = file["head_conv"]


def circle(file: h5py.File) -> None:
    file["head_conv/circle"] = file["/"]
    file["head_conv/soft_circle"] = h5py.SoftLink("/head_conv/soft_circle")
    file["dangling"] = h5py.SoftLink("/nowhere")


LINKS = [
    soft_link,
    relative_soft_link,
    soft_link_to_a_group,
    chain_of_soft_links,
    hard_link,
    hard_link_to_a_group,
    circle,
]


def test_links_inside_the_file_are_followed(network: keras.Model, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    for change in LINKS:
        shutil.copyfile(saved, path)
        with h5py.File(path, "a") as file:
            change(file)
        refuse_no_checkpoint(path)
        other = variables(network)
        load_checkpoint(other, path)
        equal = [(a.numpy() == b.numpy()).all() for a, b in zip(network.weights, other.weights, strict=True)]
        assert all(equal), change.__name__


def test_two_variables_may_share_one_array(network: keras.Model, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    shutil.copyfile(saved, path)
    one, two = "block1_conv1_bn/beta", "block1_conv1_bn/moving_mean"
    with h5py.File(path, "a") as file:
        del file[two]
        file[two] = file[one]
    other = variables(network)
    load_checkpoint(other, path)
    values = {variable.path: variable.numpy() for variable in other.weights}
    assert (values[one] == values[two]).all()


@pytest.mark.parametrize("place", ["/nowhere", "/head_conv/bias"])
def test_a_soft_link_that_leads_nowhere_is_named(saved: Path, target: keras.Model, tmp_path: Path, place: str) -> None:
    path = tmp_path / "weights.h5"
    shutil.copyfile(saved, path)
    with h5py.File(path, "a") as file:
        del file["head_conv/bias"]
        file["head_conv/bias"] = h5py.SoftLink(place)
    with pytest.raises(WeightsError, match=r"head_conv/bias|does not exist"):
        load_checkpoint(target, path)


def test_seeds_give_different_and_tame_weights(network: keras.Model, target: keras.Model) -> None:
    fill_from_seed(target, 2)
    for one, two in zip(network.weights, target.weights, strict=True):
        assert not np.array_equal(one.numpy(), two.numpy())
    image = np.random.default_rng(0).random((2, 64, 32, 3), np.float32)
    assert all(np.isfinite(output).all() for output in target(image, training=False))
