"""Combinations of TIFF tags: which are read, with what colours and labels, and which are refused."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.unit.images.tiff.tiff_files import Kind, Values

HEIGHT, WIDTH = 5, 7
ORDERS = [("<", False), (">", False), ("<", True), (">", True)]
"""Byte order, and whether the file is a BigTIFF."""

_PACKINGS = (1, 5, 8, 32773)
_PALETTE_SEED = 5


def samples_of(kind: Kind) -> np.ndarray:
    """Return known samples of a kind, with its lowest and highest value: [height, width, samples]."""
    random_numbers = np.random.default_rng(kind.bits + 100 * kind.samples)
    shape = (HEIGHT, WIDTH, kind.samples)
    if kind.sample_format == 3:
        samples = random_numbers.random(shape).astype(np.float32)
        samples.flat[:2] = (0, 1)
        return samples
    if kind.sample_format == 2 or kind.bits == 32:  # only 0 to 255 have a meaning as colours
        return random_numbers.integers(0, 128, shape).astype(f"{'?ui'[kind.sample_format]}{kind.bits // 8}")
    samples = random_numbers.integers(0, 2**kind.bits, shape)
    samples.flat[: 2 * kind.samples] = np.repeat((0, 2**kind.bits - 1), kind.samples)
    return samples.astype(np.uint8 if kind.bits <= 8 else np.uint16)


def read_kinds() -> Iterator[Kind]:
    """Yield the combinations that are read."""
    every_order = [Kind(order=order, big=big) for order, big in ORDERS]
    for base, bits, photometric, fill_order in itertools.product(every_order, (1, 2, 4, 8, 12, 16), (0, 1), (1, 2)):
        yield replace(base, bits=bits, photometric=photometric, fill_order=fill_order)
    for base, (bits, sample_format) in itertools.product(every_order, ((8, 2), (16, 2), (32, 1), (32, 2), (32, 3))):
        yield replace(base, bits=bits, sample_format=sample_format)
    for base, bits, planar, compression in itertools.product(every_order, (8, 16), (1, 2), _PACKINGS):
        many = replace(base, bits=bits, planar=planar, compression=compression)
        yield replace(many, samples=3, photometric=2, rows_per_strip=2)
        yield replace(many, samples=4, photometric=5, tile=(16, 16))
        yield replace(many, samples=4, photometric=2, extra=(2,), rows_per_strip=3)
        yield replace(many, samples=2, extra=(2,))
    for base, bits, compression, samples in itertools.product(every_order, (8, 16), (5, 8, 32946, 50000), (1, 3)):
        yield replace(
            base, bits=bits, compression=compression, samples=samples, photometric=2 if samples == 3 else 1, predictor=2
        )
    for base, tile in itertools.product(every_order, (None, (16, 32))):
        yield replace(base, bits=32, sample_format=3, compression=8, predictor=3, tile=tile)
        yield replace(base, bits=16, samples=3, photometric=2, planar=2, compression=5, predictor=2, tile=tile)
    for base, bits in itertools.product(every_order, (1, 2, 4, 8)):
        yield replace(base, bits=bits, photometric=3, more=((320, palette(bits)),))
    for base, extra in itertools.product(every_order, ((0,), (1,), (2,), (0, 0), (1, 0), (2, 0, 0))):
        yield replace(base, samples=3 + len(extra), photometric=2, extra=extra)
    for base, bits in itertools.product(every_order, (8, 16)):
        yield replace(base, bits=bits, samples=2, extra=(1,))
        yield replace(base, bits=bits, samples=4, photometric=2, extra=(1,))
    for base, planar in itertools.product(every_order, (1, 2)):
        yield replace(base, samples=3, photometric=6, planar=planar, more=((530, (3, [1, 1])),))
    for base, orientation in itertools.product(every_order[:2], range(2, 9)):
        yield replace(base, samples=3, photometric=2, orientation=orientation)
        yield replace(base, bits=16, orientation=orientation, rows_per_strip=2)
    for compression, fill_order in itertools.product((5, 8, 32773), (1, 2)):
        yield Kind(bits=12, compression=compression, fill_order=fill_order)
        yield Kind(bits=4, compression=compression, fill_order=fill_order, rows_per_strip=2)
    for compression, fill_order in itertools.product((34925, 50000), (1, 2)):
        yield Kind(compression=compression, fill_order=fill_order)
    for compression in (5, 8, 32773):
        yield Kind(samples=3, photometric=6, compression=compression, more=((530, (3, [1, 1])),))
    for base, compression in itertools.product(every_order, (5, 8, 34925, 50000)):
        packed = replace(base, compression=compression)
        yield replace(packed, bits=32, predictor=2)
        yield replace(packed, bits=32, predictor=2, sample_format=2, tile=(16, 16))
        yield replace(packed, bits=16, predictor=2, sample_format=2, fill_order=2)
        yield replace(packed, bits=32, predictor=3, sample_format=3, rows_per_strip=2)
    for base, planar, fill_order in itertools.product(every_order, (1, 2), (1, 2)):
        many = replace(base, planar=planar, fill_order=fill_order)
        yield replace(many, samples=2, photometric=3, extra=(2,), more=((320, palette(8)),))
        yield replace(many, samples=4, photometric=1, extra=(999, 0, 0))
        yield replace(many, samples=6, photometric=5, bits=16, extra=(2, 0))
        yield replace(many, samples=4, photometric=6, extra=(0,), more=((530, (3, [1, 1])),))
        yield replace(many, samples=4, photometric=2, tile=(16, 16))  # a sample that no tag describes
    for orientation, tile in itertools.product(range(2, 9), (None, (16, 32))):
        yield Kind(bits=1, photometric=0, orientation=orientation, fill_order=2, tile=tile)


def refused_kinds() -> Iterator[Kind]:
    """Yield combinations that are sound, or nearly so, and not read."""
    for order, big in ORDERS:
        base = Kind(order=order, big=big)
        for compression in (6, 32771, 32809, 33003, 33005, 34676, 34712, 34887, 34892, 50001, 50002, 0, 65535):
            yield replace(base, compression=compression)
        for photometric in (4, 8, 9, 10, 32803, 32844, 34892):
            yield replace(base, photometric=photometric, samples=3)
        for bits, sample_format in ((64, 3), (64, 1), (16, 3), (24, 1), (10, 1), (3, 1), (8, 4), (16, 5), (32, 6)):
            yield replace(base, bits=bits, more=((339, (3, [sample_format])),))
        for photometric, bits in ((2, 4), (2, 32), (3, 16), (5, 32), (6, 16)):
            yield replace(base, bits=bits, photometric=photometric, samples={2: 3, 3: 1, 5: 4, 6: 3}[photometric])
        yield replace(base, samples=3, photometric=6)  # subsampled by default
        yield replace(base, samples=3, photometric=6, more=((530, (3, [2, 2])),))
        yield replace(base, samples=3, photometric=6, more=((530, (3, [1, 1])), (529, (5, [0.2126, 0.7152, 0.0722]))))
        ranges = (5, [15, 235, 128, 240, 128, 240])
        yield replace(base, samples=3, photometric=6, more=((530, (3, [1, 1])), (532, ranges)))
        yield replace(base, samples=4, photometric=5, more=((332, (3, [2])),))
        yield replace(base, samples=2, photometric=2)
        yield replace(base, samples=3, photometric=2, extra=(2,))
        yield replace(base, samples=5, photometric=2, extra=(0, 2))
        yield replace(base, samples=2, photometric=0, extra=(1,))
        yield replace(base, samples=3, photometric=2, more=((258, (3, [5, 6, 5])),))
        yield replace(base, samples=3, photometric=2, planar=3)
        yield replace(base, fill_order=3)
        yield replace(base, more=((317, (3, [2])),))  # a predictor without a compression that has one
        yield replace(base, compression=32773, more=((317, (3, [2])),))
        yield replace(base, compression=8, more=((317, (3, [3])),))
        yield replace(base, compression=8, bits=4, more=((317, (3, [2])),))
        yield replace(base, compression=8, more=((317, (3, [7])),))
        yield replace(base, compression=4)  # CCITT with 8 bits
        yield replace(base, more=((32997, (3, [2])),))
        yield replace(base, bits=8, photometric=3, more=((320, (3, [255, *[7] * 767])),))  # a palette of 8 bits


def expected_colours(kind: Kind, samples_hwc: np.ndarray) -> np.ndarray:
    """Return the colours that samples stand for, worked out from the specification: uint8 [height, width, 3]."""
    values = samples_hwc.astype(np.int64) if kind.sample_format != 3 else samples_hwc
    if kind.photometric == 3:
        palette_3n = np.reshape(kind_palette(kind), (3, -1)) // 256
        return upright(palette_3n.T[values[:, :, 0]].astype(np.uint8), kind)
    if kind.sample_format == 3:
        eight = np.rint(values * 255)
    elif kind.sample_format == 2 or kind.bits == 32:
        eight = values
    elif kind.bits < 8:
        eight = values * 255 // (2**kind.bits - 1)
    else:
        eight = values >> (kind.bits - 8)
    n_colours = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3}[kind.photometric]
    colours, extra = eight[:, :, :n_colours], eight[:, :, n_colours:]
    if kind.extra[:1] == (1,):
        alpha = extra[:, :, :1]
        colours = np.where(alpha == 0, 0, np.minimum(255, colours * 255 // np.maximum(alpha, 1)))
    if kind.photometric == 0:
        colours = 255 - colours
    if kind.photometric == 5:
        ink, black = colours[:, :, :3], colours[:, :, 3:]
        # Pillow's conversion: (255 - ink) * (255 - black) / 255, rounded
        product = ink * (255 - black) + 128
        colours = np.clip((255 - black) - ((product >> 8) + product >> 8), 0, 255)
    if kind.photometric == 6:
        luma, blue, red = (colours[:, :, n].astype(float) for n in range(3))
        blue, red = blue - 128, red - 128
        colours = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], 2)
        colours = np.clip(np.rint(colours), 0, 255)
    return upright(np.broadcast_to(colours, (*colours.shape[:2], 3)).astype(np.uint8), kind)


def upright(picture: np.ndarray, kind: Kind) -> np.ndarray:
    """Return a picture turned as EXIF 2.3, tag 0x0112, defines it."""
    return {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture, 1),
    }[kind.orientation]


def palette(bits: int) -> Values:
    """Return a colour map of 16-bit values."""
    values = np.random.default_rng(_PALETTE_SEED).integers(0, 65_536, 3 << bits)
    return 3, [int(value) for value in values]


def kind_palette(kind: Kind) -> list[int]:
    """Return the values of a kind's colour map."""
    return [int(value) for value in dict(kind.more)[320][1]]


def name_of(kind: Kind) -> str:
    """Return what of a kind is not the default, for the name of a test."""
    default = Kind()
    differing = {name: value for name, value in vars(kind).items() if value != getattr(default, name)}
    differing.pop("more", None)
    return ",".join(f"{name}={value}" for name, value in differing.items()) or "default"
