"""Damaged and hostile DICOM files: a code for each, in bounded memory and time."""

import struct
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.formats.dicom import frame_locations, header_parser
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.dicom_files import colour, compressed, grey, written
from tests.unit.images.dicom.sound_files import sound_files
from tests.unit.images.mutants import decode_mutants

LIMITS = DecodeLimits()
LOOP = np.random.default_rng(3).integers(0, 256, (4, 8, 16, 3), dtype=np.uint8)
FRAMES = [bytes(imagecodecs.jpeg8_encode(frame, level=95)) for frame in LOOP]
N_MUTANTS = 600


def outcomes(data: bytes, limits: DecodeLimits = LIMITS) -> list[str]:
    """Return `ok` or the code of each frame, or the code of the file."""
    try:
        file = open_image(data, limits)
    except ItemError as error:
        return [error.code]
    found = []
    for index in range(file.n_frames):
        try:
            file.frame(index)
            file.metadata(index)
            found.append("ok")
        except ItemError as error:
            found.append(error.code)
    return found


def loop(**elements: Any) -> bytes:
    return written(colour(LOOP, **elements))


def jpeg_loop(*, with_table: bool = True, fragments: int = 1, **elements: Any) -> bytes:
    dataset = colour(LOOP, "YBR_FULL", **elements)
    return compressed(dataset, FRAMES, JPEGBaseline8Bit, with_table=with_table, fragments=fragments)


@pytest.mark.parametrize(("with_table", "fragments"), [(True, 1), (True, 3), (False, 1), (False, 3)])
def test_frames_in_one_or_several_fragments_are_found(with_table: bool, fragments: int) -> None:
    file = open_image(jpeg_loop(with_table=with_table, fragments=fragments), LIMITS)
    for index, frame in enumerate(FRAMES):
        expected = imagecodecs.jpeg8_decode(frame)
        np.testing.assert_array_equal(file.frame(index), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: b"\xff" * len(table),  # outside the file
        lambda table: b"\0" * len(table),  # every frame at the start
        lambda table: table[:8] + table[12:] + table[8:12],  # out of order
        lambda table: b"".join(struct.pack("<I", 3 + offset) for offset in struct.unpack("<4I", table)),
        lambda table: table[:4] + struct.pack("<3I", *(1 + offset for offset in struct.unpack("<3I", table[4:]))),
    ],
)
def test_an_offset_table_that_lies_is_not_used(change: object) -> None:
    data = jpeg_loop()
    start = data.index(b"\xfe\xff\x00\xe0\x10\x00\x00\x00") + 8
    damaged = data[:start] + change(data[start : start + 16]) + data[start + 16 :]  # type: ignore[operator]
    file = open_image(damaged, LIMITS)
    for index, frame in enumerate(FRAMES):
        np.testing.assert_array_equal(file.frame(index), imagecodecs.jpeg8_decode(frame))


@pytest.mark.parametrize("count", [0, -3, None])
def test_a_frame_count_that_is_no_count_is_taken_from_the_data(count: int | None) -> None:
    assert outcomes(jpeg_loop(NumberOfFrames=count))[0] == "ok"
    if count is not None:
        assert outcomes(jpeg_loop(NumberOfFrames=count)) == ["ok"] * 4
        assert outcomes(loop(NumberOfFrames=count)) == ["ok"] * 4


def test_a_frame_count_of_text_is_taken_from_the_data() -> None:
    for data in (jpeg_loop(), jpeg_loop(with_table=False), loop()):
        assert outcomes(data.replace(b"IS\x02\x004 ", b"IS\x02\x00x ")) == ["ok"] * 4


def test_frames_that_are_claimed_and_not_there_are_damaged() -> None:
    assert outcomes(loop(NumberOfFrames=6)) == ["ok"] * 4 + ["decode_error"] * 2
    assert outcomes(jpeg_loop(NumberOfFrames=6)) == ["ok"] * 4 + ["decode_error"] * 2
    assert outcomes(loop(NumberOfFrames=2)) == ["ok"] * 2


@pytest.mark.parametrize("n_frames", [10_001, 2_147_483_647])
def test_too_many_frames_are_refused(n_frames: int) -> None:
    assert outcomes(loop(NumberOfFrames=n_frames)) == ["too_large"]


def test_pixels_that_are_cut_off_are_damaged_and_the_frames_before_are_not() -> None:
    size = LOOP[0].size
    assert outcomes(loop()[: -size - 5]) == ["ok", "ok", "decode_error", "decode_error"]
    cut = jpeg_loop()[: -len(FRAMES[3]) // 2]
    assert outcomes(cut) == ["ok", "ok", "ok", "decode_error"]


def test_a_jpeg_that_ends_early_is_damaged() -> None:
    """Decoders fill what is missing with grey and do not say so."""
    frames = [FRAMES[0], FRAMES[1][: len(FRAMES[1]) // 2]]
    data = compressed(colour(LOOP[:2], "YBR_FULL"), frames, JPEGBaseline8Bit)
    assert outcomes(data) == ["ok", "decode_error"]


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"Rows": 65_535, "Columns": 65_535}, "too_large"),
        ({"Rows": 7_000, "Columns": 7_000}, "decode_error"),
        ({"Rows": 0}, "empty_image"),
        ({"Rows": None}, "decode_error"),
        ({"PhotometricInterpretation": None}, "decode_error"),
        ({"PhotometricInterpretation": "HSV"}, "unsupported_format"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "decode_error"),
        ({"BitsAllocated": None}, "decode_error"),
        ({"BitsAllocated": 32}, "unsupported_format"),
        ({"BitsAllocated": 1}, "unsupported_format"),
        ({"BitsStored": 9}, "decode_error"),
        ({"HighBit": 200}, "decode_error"),
        ({"SamplesPerPixel": 60_000}, "decode_error"),
    ],
)
def test_a_header_that_makes_no_sense_has_a_code(elements: dict[str, Any], code: str) -> None:
    assert set(outcomes(loop(**elements))) == {code}
    assert set(outcomes(jpeg_loop(**elements))) == {code}


def test_a_size_in_the_compressed_data_is_checked_before_memory_is_taken() -> None:
    huge = bytearray(FRAMES[0])
    start_of_frame = huge.index(b"\xff\xc0")
    huge[start_of_frame + 5 : start_of_frame + 9] = b"\xff\xff\xff\xff"
    data = compressed(colour(LOOP[0], "YBR_FULL"), [bytes(huge)], JPEGBaseline8Bit)
    assert peak_bytes(data) < 5 << 20
    assert outcomes(data) == ["decode_error"]


def peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        outcomes(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tag", [b"\xe0\x7f\x10\x00OB", b"\x09\x00\x01\x10UN", b"\x18\x00\x11\x60OB"])
def test_a_claim_of_four_gigabytes_takes_no_memory(tag: bytes) -> None:
    data = loop()
    place = data.index(b"\xe0\x7f\x10\x00OB") if tag[0] == 0xE0 else data.index(b"\x28\x00\x02\x00")
    damaged = data[:place] + tag + b"\0\0\xfe\xff\xff\xff" + data[place:]
    assert peak_bytes(damaged) < 5 << 20
    assert set(outcomes(damaged)) <= {"ok", "decode_error"}


@pytest.mark.parametrize("depth", [50, 5_000, 200_000])
@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\xf0\xff\xff\x7f"])
def test_sequences_in_sequences_without_end(depth: int, length: bytes) -> None:
    data = loop()
    place = data.index(b"\x28\x00\x02\x00")
    level = b"\x18\x00\x11\x60SQ\0\0" + length + b"\xfe\xff\x00\xe0" + length
    damaged = data[:place] + depth * level + data[place:]
    assert outcomes(damaged) == ["decode_error"]


def test_a_header_of_very_many_small_elements_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_parser, "MAX_READS", 5_000)
    data = loop()
    place = data.index(b"\x28\x00\x02\x00")
    assert outcomes(data[:place] + 6_000 * b"\x18\x00\x00\x10SH\0\0" + data[place:]) == ["decode_error"]


def test_unknown_value_representations_do_not_stop_the_reading() -> None:
    data = loop()
    for vr in (b"ZZ", b"\0\0", b"??", b"SQ"):
        assert set(outcomes(data.replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00" + vr))) <= {"ok", "decode_error"}


def test_a_deflated_file_that_bursts_is_refused() -> None:
    sound = written(grey(np.zeros((8, 8), np.uint8), 8), DeflatedExplicitVRLittleEndian)
    assert outcomes(sound) == ["ok"]
    start = len(sound) - len(zlib_part(sound))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = sound[:start] + deflater.compress(bytes(64 << 20)) + deflater.flush()
    assert outcomes(bomb, DecodeLimits(max_file_bytes=1 << 20)) == ["too_large"]


def zlib_part(data: bytes) -> bytes:
    """Return the deflated part of a file, which follows the meta elements."""
    group_length = struct.unpack_from("<I", data, 140)[0]
    return data[144 + group_length :]


def test_fragments_without_end_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_locations, "MAX_FRAGMENTS", 5_000)
    data = jpeg_loop(with_table=False)
    start = data.index(b"\xfe\xff\x00\xe0") + 8
    assert "decode_error" in outcomes(data[:start] + 6_000 * b"\xfe\xff\x00\xe0\0\0\0\0")


def mutation_outcomes(n_mutants: int, seed: int) -> Counter[str]:
    limits = DecodeLimits(max_frames=8)
    return decode_mutants(sound_files(), n_mutants, seed, lambda data: outcomes(data, limits))[0]


def test_mutants_of_every_syntax_have_a_code_each() -> None:
    found = mutation_outcomes(N_MUTANTS, seed=13)
    assert found["ok"] > N_MUTANTS / 4 and found["decode_error"] > N_MUTANTS / 4
    assert set(found) <= {"ok", *FailureCode}


@pytest.mark.slow
def test_thousands_of_mutants_in_flat_memory() -> None:
    """`python -m tools.mutate_images DICOM` does the same with 10,000."""
    mutation_outcomes(500, seed=21)
    before = resident_bytes()
    found = mutation_outcomes(3_000, seed=22)
    assert set(found) <= {"ok", *FailureCode}
    assert resident_bytes() - before < 200 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_the_sound_files_are_sound() -> None:
    assert all(outcomes(data) == ["ok"] * 3 for data in sound_files())
    assert outcomes(written(grey(np.zeros((8, 8), np.uint8), 8), ExplicitVRLittleEndian)) == ["ok"]
