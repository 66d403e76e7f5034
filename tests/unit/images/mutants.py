"""Damaged image files, made from sound ones with a fixed seed."""

import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.support.process_memory import forget_peak, peak_bytes

DICOM_PREAMBLE = 132
"""The bytes of a DICOM file before its first element."""

MAX_FILE_S = 20.0
"""Processor time that no damaged file may take."""

MAX_GROWTH_BYTES = 512 << 20
"""Memory that decoding damaged files may take beside what the process had before."""

_PNG = b"\x89PNG\r\n\x1a\n"
_BIG_ENDIAN = (b"\x89PNG", b"\xff\xd8", b"MM")
_LENGTHS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0x10000, 65535, 2**31)
_HEADER_BYTES = (2, 4, 8, 16, 26, 33, 54, 132, 140, 200, 400)
"""Signatures alone, whole headers of PNG and BMP, the preamble of DICOM, and more."""


def decode_mutants(
    files: list[bytes],
    n_mutants: int,
    seed: int,
    outcomes: Callable[[bytes], Sequence[str]],
    first_byte: int = DICOM_PREAMBLE,
) -> tuple[Counter[str], float, int]:
    """Decode damaged copies of files. Fail if one of them takes more than the stated time or memory.

    Args:
        files: The sound files.
        n_mutants: How many are made.
        seed: Of the same seed come the same mutants.
        outcomes: Decodes a file, and returns `ok` or a code for each frame.
        first_byte: Offset of the first byte that is damaged.

    Returns:
        The outcomes, the processor time of the slowest file in seconds, and the growth of memory in bytes.
    """
    return decode_all(mutants(files, n_mutants, seed, first_byte), outcomes)


def decode_all(damaged: Iterable[bytes], outcomes: Callable[[bytes], Sequence[str]]) -> tuple[Counter[str], float, int]:
    """Decode damaged files, and return what `decode_mutants` returns."""
    found: Counter[str] = Counter()
    slowest_s = 0.0
    forget_peak()
    before_bytes = peak_bytes()
    for mutant in damaged:
        began_s = time.process_time()
        found.update(outcomes(mutant))
        slowest_s = max(slowest_s, time.process_time() - began_s)
        assert slowest_s <= MAX_FILE_S, f"a file takes {slowest_s:.0f} s"
    growth_bytes = peak_bytes() - before_bytes
    assert growth_bytes <= MAX_GROWTH_BYTES, f"the files take {growth_bytes >> 20} MiB"
    return found, slowest_s, growth_bytes


def exchanged_headers(formats: Sequence[list[bytes]], n_files: int, seed: int) -> Iterator[bytes]:
    """Yield files that begin as a file of one format and go on as a file of another, or of the same one.

    Args:
        formats: The sound files of each format.
        n_files: How many are made.
        seed: Of the same seed come the same files.
    """
    chance = random.Random(seed)
    for _ in range(n_files):
        first, second = (chance.choice(chance.choice(formats)) for _ in range(2))
        length = chance.choice(_HEADER_BYTES)
        yield first[:length] + second[chance.choice((0, length)) :]


def mutants(files: list[bytes], n_mutants: int, seed: int, first_byte: int = DICOM_PREAMBLE) -> Iterator[bytes]:
    """Yield damaged copies of files: changed bits, bytes and lengths, parts that are cut out, doubled or swapped.

    Args:
        files: The sound files.
        n_mutants: How many are made, from each file in turn.
        seed: Of the same seed come the same mutants.
        first_byte: Offset of the first byte that is damaged, so that most mutants are still recognised.
    """
    chance = random.Random(seed)
    for number in range(n_mutants):
        data = bytearray(files[number % len(files)])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _damage(data, chance, files, first_byte)
        yield _with_sound_checksums(data) if data.startswith(_PNG) and number % 2 else bytes(data)


def _damage(data: bytearray, chance: random.Random, files: list[bytes], first_byte: int) -> None:
    if len(data) < first_byte + 68:
        return
    # Most of the damage is done to the header and to the first bytes of the frames, where structure is.
    place = chance.choice((chance.randrange(first_byte, len(data)), chance.randrange(first_byte, min(len(data), 1200))))
    length = chance.choice((1, 2, 4, 16, 200))
    kind = chance.randrange(8)
    order = ">" if data.startswith(_BIG_ENDIAN) else "<"
    if kind == 0:
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[place : place + length] = chance.randbytes(length)
    elif kind == 2:
        struct.pack_into(f"{order}I", data, min(place, len(data) - 4), chance.choice(_LENGTHS))
    elif kind == 3:
        struct.pack_into(f"{order}H", data, min(place, len(data) - 2), chance.choice((0, 1, 0xFFFF, 0x7FFF)))
    elif kind == 4:
        del data[place : place + length]
    elif kind == 5:
        data[place:place] = data[place : place + length]
    elif kind == 6:
        del data[place:]
    else:
        other = chance.choice(files)
        start = chance.randrange(len(other))
        data[place : place + length] = other[start : start + length]


def _with_sound_checksums(png: bytearray) -> bytes:
    """Correct the checksum of every chunk, so that damage inside it reaches the decoder."""
    place = len(_PNG)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        end = place + 8 + length
        if end + 4 > len(png):
            break
        struct.pack_into(">I", png, end, zlib.crc32(png[place + 4 : end]))
        place = end + 4
    return bytes(png)
