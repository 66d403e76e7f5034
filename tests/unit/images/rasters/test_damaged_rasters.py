"""Damaged TIFF, PNG, BMP and JPEG files: each frame has pixels or a code. `tools.mutate_images` makes more of them."""

import pytest

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.sound_files import sound_files
from tests.unit.images.mutants import decode_all, decode_mutants, exchanged_headers
from tests.unit.images.rasters.sound_rasters import sound_rasters
from tests.unit.images.tiff.test_pages import outcomes
from tools.mutate_images import mask_outcome

LIMITS = DecodeLimits(max_pixels=10_000, max_frames=8)
FILES = sound_rasters()


@pytest.mark.parametrize("name", FILES)
def test_sound_files_are_read(name: str) -> None:
    assert {outcome for data in FILES[name] for outcome in outcomes(data, LIMITS)} == {"ok"}


@pytest.mark.parametrize(("name", "n_mutants"), [("TIFF", 600), ("PNG", 200), ("BMP", 200), ("JPEG", 200)])
def test_damaged_files_have_a_code_for_each_frame(name: str, n_mutants: int) -> None:
    found, *_ = decode_mutants(FILES[name], n_mutants, 16, lambda data: outcomes(data, LIMITS), first_byte=4)
    assert set(found) <= {"ok", *(code.value for code in FailureCode)}
    assert found["ok"] and found["decode_error"] and found["unsupported_format"]


def test_files_with_the_header_of_another_have_a_code_as_images_and_as_masks() -> None:
    files = exchanged_headers([sound_files(), *FILES.values()], 600, seed=16)
    found, *_ = decode_all(files, lambda data: [*outcomes(data, LIMITS), mask_outcome(data)])
    codes = {code.value for code in FailureCode}
    assert set(found) <= {"ok", "mask: ok", *codes, *(f"mask: {code}" for code in codes if code.startswith("mask_"))}
    assert found["ok"] and found["decode_error"] and found["mask: ok"] and found["mask: mask_unreadable"]


@pytest.mark.parametrize("name", FILES)
def test_damaged_masks_have_a_code(name: str) -> None:
    found, *_ = decode_mutants(FILES[name], 100, 17, lambda data: [mask_outcome(data)], first_byte=4)
    assert set(found) <= {"mask: ok", "mask: mask_unreadable", "mask: mask_invalid_values", "mask: mask_size_mismatch"}
    assert found["mask: mask_unreadable"]
