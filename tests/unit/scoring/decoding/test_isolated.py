"""A decoder in a child process gives the same pixels. Deaths and hangs become failure codes of one file."""

import errno
import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.identifying import CollectedValues, IdentifyingValue
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding import isolated
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.in_process import Decoder, DecodeSettings, GridFrame, InProcessDecoder, MaskRequest
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
from tests.support.trapped_decoder import (
    GLUTTON,
    GREED_BYTES,
    GREEDY_AND_KILLED,
    HANGER,
    KILLED,
    KILLED_ONCE,
    KILLER,
    set_traps,
    trap,
)
from tests.unit.images.dicom.dicom_files import colour, written
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, png, tiff

SETTINGS = DecodeSettings(DecodeLimits(), HEIGHT, WIDTH, {0: 0, 255: 2})


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedDecoder]:
    """Return a decoder whose children have a trapped image library: pictures of certain sizes kill or hang them."""
    monkeypatch.syspath_prepend(str(set_traps(tmp_path)))
    decoder = IsolatedDecoder(SETTINGS, timeout_s=2.0, memory_bytes=4 << 30)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def shared_decoder() -> Iterator[IsolatedDecoder]:
    """Return a decoder for the tests whose files do its child no harm, which starts once for all of them."""
    decoder = IsolatedDecoder(SETTINGS, timeout_s=60.0, memory_bytes=4 << 30)
    yield decoder
    decoder.close()


def _frame(decoder: Decoder, data: bytes) -> GridFrame:
    decoder.open(data)
    return decoder.frame(0)


def test_gives_the_same_pixels_as_in_process(shared_decoder: IsolatedDecoder) -> None:
    generator = np.random.default_rng(3)
    in_process = InProcessDecoder(SETTINGS, ByteBudget(1 << 30))
    buffer = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (70, 90, 3), np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    ours, theirs = _frame(shared_decoder, data), _frame(in_process, data)
    assert np.array_equal(ours.image_hwc_u8, theirs.image_hwc_u8)
    assert (ours.source_height, ours.source_width) == (70, 90)
    assert ours.region == theirs.region
    request = MaskRequest(HEIGHT, WIDTH, (0, 0, HEIGHT, WIDTH), 0, True)
    mask = png(255, mode="L")
    assert np.array_equal(shared_decoder.mask(mask, request), in_process.mask(mask, request))
    assert shared_decoder.open(tiff([1, 2, 3])) == 3
    assert shared_decoder.frame(2).image_hwc_u8[0, 0, 0] == 3


def test_a_loop_of_dicom_gives_the_same_frames_as_in_process(shared_decoder: IsolatedDecoder) -> None:
    loop = np.random.default_rng(4).integers(0, 256, (3, 40, 50, 3), np.uint8)
    data = written(colour(loop, FrameTime=20))
    in_process = InProcessDecoder(SETTINGS, ByteBudget(1 << 30))
    assert shared_decoder.open(data) == in_process.open(data) == 3
    for index in (2, 0):
        ours, theirs = shared_decoder.frame(index), in_process.frame(index)
        assert np.array_equal(ours.image_hwc_u8, theirs.image_hwc_u8)
        assert ours.metadata == theirs.metadata
        assert (ours.metadata.time_ms, ours.metadata.colour_from) == (20.0 * index, "declared")


def test_gives_the_same_identifying_values_as_in_process(shared_decoder: IsolatedDecoder) -> None:
    in_process = InProcessDecoder(SETTINGS, ByteBudget(1 << 30))
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Author", "Ada Lovelace")
    buffer = io.BytesIO()
    Image.new("L", (90, 70)).save(buffer, "PNG", pnginfo=chunks)
    for one in (shared_decoder, in_process):
        one.open(png(0))
        assert one.identifying_values() == CollectedValues((), complete=True)
        of_mask = one.identifying_values(buffer.getvalue())
        assert of_mask == CollectedValues((IdentifyingValue("PNG Author", "Ada Lovelace"),), complete=True)
        one.open(buffer.getvalue())
        assert one.identifying_values() == of_mask
        with pytest.raises(ItemError):
            one.identifying_values(b"no image")


def test_item_errors_come_through_unchanged(shared_decoder: IsolatedDecoder) -> None:
    in_process = InProcessDecoder(SETTINGS, ByteBudget(1 << 30))
    for data in (b"", b"no image", png(0)[:50]):
        with pytest.raises(ItemError) as ours:
            _frame(shared_decoder, data)
        with pytest.raises(ItemError) as theirs:
            _frame(in_process, data)
        assert (ours.value.code, ours.value.detail) == (theirs.value.code, theirs.value.detail)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (KILLER, FailureCode.WORKER_CRASHED),
        (GLUTTON, FailureCode.WORKER_CRASHED),
        (HANGER, FailureCode.DECODE_TIMEOUT),
    ],
)
def test_a_file_that_kills_or_hangs_twice_gets_its_code_and_the_next_is_decoded(
    decoder: IsolatedDecoder, size: tuple[int, int], code: FailureCode
) -> None:
    decoder.open(trap(size))
    with pytest.raises(ItemError) as error:
        decoder.frame(0)
    assert error.value.code == code
    with pytest.raises(ItemError) as again:
        decoder.frame(1)
    assert again.value.code == code
    assert decoder._child is None, "another frame of that file was tried"
    assert _frame(decoder, png(9)).image_hwc_u8[0, 0, 0] == 9


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "KILL_PAUSES_S", (0.1, 0.1, 0.1))


def test_one_death_is_forgiven(decoder: IsolatedDecoder, short_pauses: None) -> None:
    assert _frame(decoder, trap(KILLED_ONCE)).source_width == KILLED_ONCE[1]


def test_kills_from_outside_are_the_machines_fault_not_the_files(decoder: IsolatedDecoder, short_pauses: None) -> None:
    with pytest.raises(RunFault, match=r"killed 4 times on node .* \(SIGKILL\).*memory is used up.*more memory"):
        _frame(decoder, trap(KILLED))
    with pytest.raises(RunFault, match="killed 4 times"):
        decoder.mask(trap(KILLED, mode="L"), MaskRequest(*KILLED, (0, 0, *KILLED), 0, True))
    assert _frame(decoder, png(9)).image_hwc_u8[0, 0, 0] == 9


def test_a_file_that_was_taking_much_memory_when_it_was_killed_is_at_fault(
    decoder: IsolatedDecoder, short_pauses: None
) -> None:
    """A machine may have less free memory than the child's limit. The kernel then kills the child below the limit."""
    decoder._memory_bytes = int(1.5 * GREED_BYTES)
    decoder._timeout_s = 60.0  # on a busy machine it takes seconds to use that much memory
    with pytest.raises(ItemError) as error:
        _frame(decoder, trap(GREEDY_AND_KILLED))
    assert error.value.code == FailureCode.WORKER_CRASHED
    assert "-9, twice" in error.value.detail


def test_waiting_after_a_kill_is_no_stall(decoder: IsolatedDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "KILL_PAUSES_S", (0.3,))
    monkeypatch.setattr(isolated, "_EVENT_INTERVAL_S", 0.1)
    signs: list[float] = []
    decoder._on_event = lambda: signs.append(time.monotonic())
    with pytest.raises(RunFault):
        _frame(decoder, trap(KILLED))
    assert len(signs) >= 5


def test_a_mask_that_kills_is_unreadable_and_its_image_goes_on(decoder: IsolatedDecoder) -> None:
    decoder.open(tiff([5, 6]))
    with pytest.raises(ItemError) as error:
        decoder.mask(trap(KILLER, mode="L"), MaskRequest(*KILLER, (0, 0, *KILLER), 0, True))
    assert error.value.code == FailureCode.MASK_UNREADABLE
    assert decoder.frame(1).image_hwc_u8[0, 0, 0] == 6


def test_children_have_no_credentials_and_end_with_close(
    decoder: IsolatedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    _frame(decoder, png(0))
    pid = decoder._child._process.pid
    assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
    decoder.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_machine_that_starts_no_process_is_at_fault_not_the_file(
    decoder: IsolatedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Never:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(RunFault, match="no process can be started for decoding: Resource temporarily unavailable"):
        decoder.open(png(0))
