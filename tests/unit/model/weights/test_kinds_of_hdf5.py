"""HDF5 files as many programs write them: each kind gives the weights, or is refused with the file and a remedy."""

import gzip
import json
import marshal
import os
import re
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from diagchd_batch.errors import WeightsError
from diagchd_batch.model import load_checkpoint, save_checkpoint
from diagchd_batch.model.weights import original_format
from diagchd_batch.model.weights.file_kind import refuse_no_checkpoint

Change = Callable[[h5py.File], None]
BIAS, KERNEL, MEAN = "stem/bias", "head/kernel", "norm/moving_mean"
LAYERS = {"stem": "stem", "head": "conv2d_7", "norm": "batch_normalization"}
"""The layers of the network below, and what Keras 2 calls them."""

REMEDY = re.compile(r"; (give|write|save|set|update) ")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Build a network of three layers, so that a file is read in milliseconds. Its values are exact in float16."""
    image = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 3, name="stem")(image)
    head = keras.layers.Conv2D(2, 1, name="head")(stem)
    network = keras.Model(image, keras.layers.BatchNormalization(name="norm")(head), name="small")
    generator = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(generator.integers(1, 1 << 8, tuple(variable.shape)) / (1 << 8))
    return network


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Name the layers that Keras numbers, work in an empty directory, and end a test that hangs."""
    names = {"conv2d": ("head",), "batch_normalization": ("norm",)}
    monkeypatch.setattr(original_format, "automatic_layers", lambda: names)
    monkeypatch.chdir(tmp_path)
    signal.alarm(60)
    yield
    signal.alarm(0)


def write_own(network: keras.Model, path: Path, change: Change = lambda file: None, **options: Any) -> None:
    """Copy a file of `save_checkpoint` into one that h5py creates with `options`, then change it."""
    save_checkpoint(network, "sound.h5")
    with h5py.File("sound.h5") as sound, h5py.File(path, "w", **options) as file:
        file.attrs.update(sound.attrs)
        for name in sound:
            sound.copy(name, file)
        change(file)


def write_keras(network: keras.Model, path: Path, change: Change = lambda file: None, **options: Any) -> None:
    """Write the weights as `save_weights` of Keras 2 does, then change the file."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["layer_names"] = [name.encode() for name in LAYERS.values()]
        for ours, theirs in LAYERS.items():
            layer = network.get_layer(ours)
            names = [f"{theirs}/{variable.name}:0" for variable in layer.weights]
            file.create_group(theirs).attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, layer.weights, strict=True):
                file[theirs][name] = variable.numpy()
        change(file)


def stored(name: str, **options: Any) -> Change:
    """Store an array in another way."""

    def change(file: h5py.File) -> None:
        values = file[name][...]
        del file[name]
        file.create_dataset(name, data=values.astype(options.pop("dtype", "f4")), **options)

    return change


def replaced(name: str, value: Any) -> Change:
    """Put something else in the place of an array."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def low_level(
    name: str, describe: Callable[[h5py.h5p.PropDCID], Any], stored_type: Any = h5py.h5t.IEEE_F32LE
) -> Change:
    """Store an array with properties, or a type, that h5py's own interface does not offer."""

    def change(file: h5py.File) -> None:
        values = file[name][...]
        del file[name]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        describe(properties)
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, name.encode(), stored_type, space, dcpl=properties)
        file[name][...] = values

    return change


def bfloat16() -> h5py.h5t.TypeFloatID:
    """Return the type of 16-bit floating-point numbers with an exponent of 8 bits."""
    described = h5py.h5t.IEEE_F32LE.copy()
    described.set_fields(15, 7, 8, 0, 7)
    described.set_precision(16)
    described.set_offset(0)
    described.set_size(2)
    described.set_ebias(127)
    return described


def chunked(*filters: int) -> Callable[[h5py.h5p.PropDCID], None]:
    def describe(properties: h5py.h5p.PropDCID) -> None:
        properties.set_chunk((1, 1, 4, 2))
        for code in filters:
            properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (1,))

    return describe


def scales(file: h5py.File) -> None:
    file[BIAS].make_scale("channels")
    file[KERNEL].dims[2].attach_scale(file[BIAS])
    file[BIAS].attrs["unit"] = "none"


def many_attributes(file: h5py.File) -> None:
    for number in range(100):
        file[BIAS].attrs[f"note {number}"] = "x" * 100


def freed_space(file: h5py.File) -> None:
    file["large"] = np.zeros(10_000)
    del file["large"]


def named_type(file: h5py.File) -> None:
    file["number"] = np.dtype("f4")


def soft_link(file: h5py.File) -> None:
    file.move("stem", "elsewhere")
    file["stem"] = h5py.SoftLink("/elsewhere")


def texts_of_any_length(file: h5py.File) -> None:
    file.attrs.create("layer_names", list(LAYERS.values()), dtype=h5py.string_dtype())


def long_fixed_texts(file: h5py.File) -> None:
    file.attrs.create("layer_names", [name.encode() for name in LAYERS.values()], dtype="S300")


def split_names(file: h5py.File) -> None:
    for number, name in enumerate(LAYERS.values()):
        file.attrs[f"layer_names{number}"] = [name.encode()]
    del file.attrs["layer_names"]


def matrix_of_names(file: h5py.File) -> None:
    file.attrs["layer_names"] = [[name.encode()] for name in LAYERS.values()]


def whole_model(file: h5py.File) -> None:
    """Put the weights below `model_weights`, beside a configuration with byte code that would create a file."""
    group = file.create_group("model_weights")
    group.attrs.update(file.attrs)
    for name in LAYERS.values():
        file.move(name, f"model_weights/{name}")
    code = b64encode(marshal.dumps(compile("open('executed', 'w')", "lambda", "exec"))).decode()
    layer = {"class_name": "Lambda", "config": {"function": [code, None, None], "function_type": "lambda"}}
    file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
    file["optimizer_weights/Adam/iter:0"] = 7


def full_precision(file: h5py.File) -> None:
    for theirs in LAYERS.values():
        for name in file[theirs].attrs["weight_names"]:
            stored(f"{theirs}/{name.decode() if isinstance(name, bytes) else name}", dtype="f8")(file)


READ: dict[str, tuple[Callable[..., None], Change | None, dict[str, Any]]] = {
    **{
        f"format of HDF5 from {oldest} to {newest}": (write_own, None, {"libver": (oldest, newest)})
        for oldest, newest in [("earliest", "v108"), ("v108", "v110"), ("v110", "v112"), ("v114", "latest")]
    },
    "order of creation": (write_own, None, {"track_order": True}),
    "user block": (write_own, None, {"userblock_size": 2048}),
    "pages": (write_own, None, {"fs_strategy": "page", "fs_page_size": 4096}),
    "list of free space": (write_own, freed_space, {"fs_strategy": "fsm", "fs_persist": True}),
    "freed space": (write_own, freed_space, {}),
    "one chunk": (write_own, stored(KERNEL, chunks=(1, 1, 4, 2)), {}),
    "chunks that overlap the edge": (write_own, stored(BIAS, chunks=(3,)), {}),
    "chunks of the latest format": (write_own, stored(BIAS, chunks=(3,)), {"libver": "latest"}),
    "chunks that may grow": (write_own, stored(BIAS, chunks=(2,), maxshape=(None,)), {"libver": "latest"}),
    "compact": (write_own, low_level(BIAS, lambda p: p.set_layout(h5py.h5d.COMPACT)), {}),
    "gzip": (write_own, stored(KERNEL, compression="gzip", compression_opts=9), {}),
    "gzip and shuffle": (write_own, stored(KERNEL, compression="gzip", shuffle=True), {}),
    "shuffle": (write_own, stored(KERNEL, shuffle=True), {}),
    "checksums": (write_own, stored(KERNEL, fletcher32=True), {}),
    "all three filters": (write_own, stored(KERNEL, compression="gzip", shuffle=True, fletcher32=True), {}),
    "big-endian": (write_own, stored(KERNEL, dtype=">f4"), {}),
    "float16": (write_own, stored(KERNEL, dtype="<f2"), {}),
    "big-endian float16": (write_own, stored(KERNEL, dtype=">f2"), {}),
    "float64": (write_own, stored(KERNEL, dtype="<f8"), {}),
    "big-endian float64": (write_own, stored(KERNEL, dtype=">f8"), {}),
    "bfloat16": (write_own, low_level(KERNEL, lambda p: None, bfloat16()), {}),
    "fill value": (write_own, stored(KERNEL, fillvalue=7.0), {}),
    "dimension scales": (write_own, scales, {}),
    "many attributes": (write_own, many_attributes, {"libver": "latest"}),
    "a type with a name": (write_own, named_type, {}),
    "a soft link": (write_own, soft_link, {}),
    "Keras 2": (write_keras, None, {}),
    "Keras 2 of the latest format": (write_keras, None, {"libver": "latest"}),
    "Keras 2, whole model with code": (write_keras, whole_model, {}),
    "Keras 2, names of any length": (write_keras, texts_of_any_length, {}),
    "Keras 2, padded names": (write_keras, long_fixed_texts, {}),
    "Keras 2, split names": (write_keras, split_names, {}),
    "Keras 2, names in a matrix": (write_keras, matrix_of_names, {}),
    "Keras 2, float64": (write_keras, full_precision, {}),
}


@pytest.mark.parametrize("kind", READ)
def test_kinds_that_are_read_give_equal_weights(network: keras.Model, tmp_path: Path, kind: str) -> None:
    write, change, options = READ[kind]
    path = tmp_path / "weights.h5"
    write(network, path, change or (lambda file: None), **options)
    other = keras.models.clone_model(network)
    refuse_no_checkpoint(path)
    load_checkpoint(other, path)
    for one, two in zip(network.weights, other.weights, strict=True):
        assert one.path == two.path
        assert one.numpy().tobytes() == two.numpy().tobytes()
    assert not Path("executed").exists()


def elsewhere(file: h5py.File, link: Any) -> None:
    with h5py.File("elsewhere.h5", "w") as other:
        file.copy(BIAS, other, "bias")
    del file[BIAS]
    file[BIAS] = link


def virtual(source: str) -> Change:
    def change(file: h5py.File) -> None:
        file["source"] = file[BIAS][...]
        del file[BIAS]
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(source, "source", (4,))
        file.create_virtual_dataset(BIAS, layout)

    return change


def external_storage(file: h5py.File) -> None:
    file[BIAS][...].tofile("raw")
    del file[BIAS]
    file.create_dataset(BIAS, (4,), "f4", external=[("raw", 0, 16)])


def declared(name: str, **options: Any) -> Change:
    """Declare an array whose values are never written, as a writer does that ends early."""

    def change(file: h5py.File) -> None:
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, shape, "f4", **options)

    return change


def half_written(file: h5py.File) -> None:
    values = file[BIAS][...]
    declared(BIAS, chunks=(2,))(file)
    file[BIAS][:2] = values[:2]


def attribute(name: str, value: Any, layer: str = "/") -> Change:
    return lambda file: file[layer].attrs.__setitem__(name, value)


def without(name: str) -> Change:
    return lambda file: file.__delitem__(name)


def keras_3(file: h5py.File) -> None:
    """Write what `save_weights("….weights.h5")` of Keras 3 writes."""
    for name in [*file.attrs, *file]:
        del (file.attrs if name in file.attrs else file)[name]
    file["layers/conv2d/vars/0"] = np.ones((3, 3, 3, 4), "f4")


def with_elements(values: np.ndarray) -> Change:
    return replaced(BIAS, values)


def arrays_as_elements(file: h5py.File) -> None:
    del file[BIAS]
    file.create_dataset(BIAS, (4,), np.dtype(("f4", (2,))))


REFUSED: dict[str, tuple[Callable[..., None], Change]] = {
    "external link": (write_own, lambda file: elsewhere(file, h5py.ExternalLink("elsewhere.h5", "/bias"))),
    "external link to nothing": (write_own, lambda file: elsewhere(file, h5py.ExternalLink("absent.h5", "/bias"))),
    "external link to a device": (write_own, lambda file: elsewhere(file, h5py.ExternalLink("/dev/stdin", "/bias"))),
    "soft link to nothing": (write_own, lambda file: elsewhere(file, h5py.SoftLink("/nowhere"))),
    "soft link to itself": (write_own, lambda file: elsewhere(file, h5py.SoftLink(f"/{BIAS}"))),
    "soft link to a group": (write_own, lambda file: elsewhere(file, h5py.SoftLink("/head"))),
    "external storage": (write_own, external_storage),
    "virtual": (write_own, virtual("elsewhere.h5")),
    "virtual, of the file itself": (write_own, virtual(".")),
    "never written": (write_own, declared(BIAS)),
    "never written, in chunks": (write_own, declared(BIAS, chunks=(2,))),
    "half written": (write_own, half_written),
    "lzf": (write_own, stored(KERNEL, compression="lzf")),
    "scale and offset": (write_own, stored(KERNEL, scaleoffset=3)),
    "szip": (write_own, stored(KERNEL, compression="szip", chunks=(1, 1, 4, 2))),
    "n bits": (write_own, low_level(KERNEL, chunked(h5py.h5z.FILTER_NBIT))),
    "filter of a plugin": (write_own, low_level(KERNEL, chunked(32015))),
    "filters in another order": (write_own, low_level(KERNEL, chunked(h5py.h5z.FILTER_DEFLATE, 2))),
    "integers": (write_own, with_elements(np.ones(4, "i4"))),
    "quantised to 8 bits": (write_own, with_elements(np.ones(4, "i1"))),
    "complex numbers": (write_own, with_elements(np.ones(4, "c8"))),
    "truth values": (write_own, with_elements(np.ones(4, bool))),
    "longest floating point": (write_own, with_elements(np.ones(4, np.longdouble))),
    "records": (write_own, with_elements(np.ones(4, [("value", "f4")]))),
    "texts": (write_own, with_elements(np.array([b"1.0"] * 4))),
    "raw bytes": (write_own, with_elements(np.zeros(4, "V4"))),
    "arrays as elements": (write_own, arrays_as_elements),
    "one number": (write_own, replaced(BIAS, 1.0)),
    "nothing": (write_own, replaced(BIAS, h5py.Empty("f4"))),
    "one dimension more": (write_own, replaced(BIAS, np.ones((1, 4), "f4"))),
    "transposed": (write_own, replaced(KERNEL, np.ones((1, 1, 2, 4), "f4"))),
    "not a number": (write_own, replaced(BIAS, np.array([1, 2, 3, np.nan], "f4"))),
    "infinite": (write_own, replaced(BIAS, np.array([1, 2, 3, np.inf], "f4"))),
    "beyond 32 bits": (write_own, replaced(BIAS, np.array([1, 2, 3, 1e300]))),
    "a group for an array": (write_own, replaced(f"{BIAS}", np.dtype("f4"))),
    "a missing array": (write_own, without(BIAS)),
    "a missing group": (write_own, without("head")),
    "no groups": (write_own, lambda file: file.clear()),
    "a version that is a text": (write_own, attribute("diagchd_batch_weights", "1")),
    "a version that is a list": (write_own, attribute("diagchd_batch_weights", [1])),
    "a version to come": (write_own, attribute("diagchd_batch_weights", 2)),
    "Keras 2, a missing group": (write_keras, without("conv2d_7")),
    "Keras 2, a missing array": (write_keras, without("conv2d_7/conv2d_7/bias:0")),
    "Keras 2, no names of layers": (write_keras, lambda file: file.attrs.clear()),
    "Keras 2, no names of weights": (write_keras, lambda file: file["conv2d_7"].attrs.clear()),
    "Keras 2, names that are numbers": (write_keras, attribute("layer_names", [1, 2, 3])),
    "Keras 2, one name": (write_keras, attribute("layer_names", "stem")),
    "Keras 2, no name": (write_keras, attribute("layer_names", h5py.Empty("S1"))),
    "Keras 2, names not in UTF-8": (write_keras, attribute("layer_names", [b"\xff", b"stem", b"conv2d_7"])),
    "Keras 2, a name with a path": (write_keras, attribute("layer_names", [b"/", b"stem/stem", b".."])),
    "Keras 2, a name of another layer": (write_keras, attribute("layer_names", [b"stem", b"conv2d_7", b"dense"])),
    "Keras 2, group below another name": (write_keras, lambda file: file.move("stem", "Stem")),
    "Keras 3": (write_own, keras_3),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_kinds_that_are_refused_name_the_file_and_a_remedy(network: keras.Model, tmp_path: Path, kind: str) -> None:
    write, change = REFUSED[kind]
    write(network, tmp_path / "weights.h5", change)
    refused(network, tmp_path / "weights.h5")


def refused(network: keras.Model, path: Path) -> None:
    before = [variable.numpy().tobytes() for variable in network.weights]
    with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
        load_checkpoint(network, path)
    assert REMEDY.search(str(caught.value)), caught.value
    assert [variable.numpy().tobytes() for variable in network.weights] == before
    try:
        refuse_no_checkpoint(path)  # before a run it sees only what kind of file it is
    except WeightsError as error:
        assert str(path) in str(error)
        assert REMEDY.search(str(error)), error


def truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut short": truncated,
    "without its first bytes": lambda content: content[8:],
    "behind something else": lambda content: b"x" * 1000 + content,
    "line ends changed": lambda content: content.replace(b"\r\n", b"\n"),
    "compressed": gzip.compress,
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"not found\n",
    "zip": lambda content: b"PK\3\4" + content,
    "Git LFS pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "HDF4": lambda content: b"\x0e\x03\x13\x01" + bytes(1000),
    "NetCDF 3": lambda content: b"CDF\x01" + bytes(1000),
    "NumPy": lambda content: b"\x93NUMPY" + bytes(1000),
    "a signature alone": lambda content: b"\x89HDF\r\n\x1a\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_name_the_file_and_a_remedy(network: keras.Model, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.h5"
    write_own(network, path)
    path.write_bytes(DAMAGED[kind](path.read_bytes()))
    refused(network, path)


@pytest.mark.parametrize("swmr", [True, False])
def test_a_file_that_its_writer_did_not_close_is_refused(network: keras.Model, tmp_path: Path, swmr: bool) -> None:
    path = tmp_path / "weights.h5"
    child = os.fork()
    if not child:
        try:
            write_own(network, path, lambda file: _end_early(file, swmr), libver="latest")
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    refused(network, path)


def _end_early(file: h5py.File, swmr: bool) -> None:
    """End the process without closing the file."""
    if swmr:
        file.swmr_mode = True
    file.flush()
    os._exit(0)


def test_what_is_no_file_is_refused(network: keras.Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "directory.h5").mkdir()
    (tmp_path / "circle.h5").symlink_to("circle.h5")
    for name in ("pipe.h5", "directory.h5", "circle.h5", "absent.h5"):
        with pytest.raises(WeightsError, match=f"{name}.*; give "):
            load_checkpoint(network, tmp_path / name)
