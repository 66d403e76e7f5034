"""Damaged TIFFs of every compression: each frame has pixels or a code, and no file takes long."""

import random
import struct
from collections import Counter

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.tiff.combinations import read_kinds, samples_of
from tests.unit.images.tiff.test_pages import outcomes
from tests.unit.images.tiff.tiff_files import page_of, tiff

N_MUTANTS = 600
LIMITS = DecodeLimits(max_pixels=10_000, max_frames=8)
_LENGTHS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 65_535)


def mutant(data: bytearray, chance: random.Random) -> bytes:
    """Return a damaged copy: a flipped bit, a length or offset that lies, or bytes that are cut out or doubled."""
    place, length = chance.randrange(4, len(data)), chance.choice((1, 2, 4, 16))
    kind = chance.randrange(5)
    if kind == 0:
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        struct.pack_into("<I", data, min(place, len(data) - 4), chance.choice(_LENGTHS))
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place:place] = data[place : place + length]
    else:
        del data[place:]
    return bytes(data)


def test_damaged_files_have_a_code_for_each_frame() -> None:
    chance = random.Random(16)
    seeds = [tiff([page_of(samples_of(kind), kind)] * 2, kind.order, big=kind.big) for kind in read_kinds()]
    found: Counter[str] = Counter()
    for _ in range(N_MUTANTS):
        found.update(outcomes(mutant(bytearray(chance.choice(seeds)), chance), LIMITS))
    assert set(found) <= {"ok", *(code.value for code in FailureCode)}
    assert found["ok"] and found["decode_error"] and found["unsupported_format"]
