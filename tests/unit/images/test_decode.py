"""Decoding: the pixels of each kind of file, and the error code of each bad file."""

import io
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.pictures import encoded, handmade_png, noise_hw_u8, noise_hwc_u8, png_chunk, tiff_of

LIMITS = DecodeLimits(max_pixels=1_000_000, max_file_bytes=10_000_000, max_frames=50)


def decoded(data: bytes, frame: int = 0) -> np.ndarray:
    return open_image(data, LIMITS).frame(frame)


def code_of(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(ItemError) as caught:
        file = open_image(data, limits)
        for frame in range(file.n_frames):
            file.frame(frame)
    return caught.value.code.value


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("colour", [False, True])
def test_lossless_formats_give_back_the_pixels(file_format: str, colour: bool) -> None:
    pixels = noise_hwc_u8(17, 23) if colour else noise_hw_u8(17, 23)
    image_hwc_u8 = decoded(encoded(pixels, file_format))
    assert image_hwc_u8.dtype == np.uint8
    expected = pixels if colour else np.stack([pixels] * 3, axis=2)
    np.testing.assert_array_equal(image_hwc_u8, expected)


@pytest.mark.parametrize("compression", ["tiff_deflate", "tiff_lzw", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    pixels = noise_hwc_u8(40, 30)
    np.testing.assert_array_equal(decoded(encoded(pixels, "TIFF", compression=compression)), pixels)


def test_one_bit_is_black_and_white() -> None:
    bits = noise_hw_u8(9, 13) > 127
    for file_format in ("PNG", "TIFF", "BMP"):
        image = decoded(encoded(Image.fromarray(bits), file_format))
        np.testing.assert_array_equal(image[:, :, 0], np.where(bits, 255, 0))


def test_alpha_is_ignored_as_the_original_does() -> None:
    pixels = noise_hwc_u8(8, 9, channels=4)
    np.testing.assert_array_equal(decoded(encoded(pixels)), pixels[:, :, :3])


def test_palette_is_looked_up_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    pixels = noise_hw_u8(8, 9) // 64
    picture = Image.fromarray(pixels).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    data = encoded(picture, transparency=bytes([0, 128, 255, 7]))
    palette = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
    np.testing.assert_array_equal(decoded(data), palette[pixels])
    assert not recwarn.list


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3)], ids=["grey", "rgb"])
def test_sixteen_bit_png_gives_the_high_byte(colour_type: int, channels: int) -> None:
    values = np.array([[0, 1, 255, 256, 257, 32767, 32768, 65279, 65280, 65535]], np.uint16)
    samples = np.repeat(values[:, :, None], channels, axis=2).astype(">u2")
    data = handmade_png(values.shape[1], 1, 16, colour_type, b"\0" + samples.tobytes())
    expected = [0, 0, 0, 1, 1, 127, 128, 254, 255, 255]
    np.testing.assert_array_equal(decoded(data), np.repeat(np.array([expected], np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_sixteen_bit_tiff_in_both_byte_orders(byte_order: str) -> None:
    eight_bit = noise_hw_u8(6, 7)
    wide = (eight_bit.astype(np.uint16) * 257).astype(f"{byte_order}u2")
    np.testing.assert_array_equal(decoded(encoded(wide, "TIFF"))[:, :, 0], eight_bit)


def handmade_tiff(entries: dict[int, tuple[int, int]], strip: bytes) -> bytes:
    """Return a little-endian TIFF with one strip.

    `entries` maps each tag to (type, value). The strip's offset and length are added.
    """
    entries = {**entries, 273: (4, 8), 279: (4, len(strip))}
    directory = struct.pack("<H", len(entries))
    for tag, (kind, value) in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, kind, 1, value)
    padding = b"\0" * (len(strip) % 2)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(strip) + len(padding))
        + strip
        + padding
        + directory
        + struct.pack("<I", 0)
    )


def grey_tiff(bits: int, photometric: int, strip: bytes, width: int, sample_format: int = 1) -> bytes:
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1, 339: sample_format}
    return handmade_tiff({tag: (3, value) for tag, value in tags.items()}, strip)


def test_twelve_bit_tiff_gives_the_upper_eight_bits() -> None:
    data = grey_tiff(12, 1, bytes.fromhex("fff 000 800 00f".replace(" ", "")), width=4)
    np.testing.assert_array_equal(decoded(data)[0, :, 0], [255, 0, 128, 0])


@pytest.mark.parametrize("bits, values", [(8, "<u1"), (16, "<u2")])
def test_white_is_zero_is_inverted_at_every_depth(bits: int, values: str) -> None:
    top = 2**bits - 1
    data = grey_tiff(bits, 0, np.array([0, top], values).tobytes(), width=2)
    np.testing.assert_array_equal(decoded(data)[0, :, 0], [255, 0])


def test_floating_point_from_zero_to_one() -> None:
    values = np.array([[0.0, 0.25, 0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(decoded(encoded(values, "TIFF"))[0, :, 0], [0, 64, 128, 255])


@pytest.mark.parametrize("worst", [-0.01, 1.01, 255.0, np.nan, np.inf])
def test_floating_point_outside_is_refused_not_guessed_at(worst: float) -> None:
    assert code_of(encoded(np.array([[0.0, worst]], np.float32), "TIFF")) == "unsupported_format"


def test_32_bit_integers() -> None:
    np.testing.assert_array_equal(decoded(encoded(np.array([[0, 7, 255]], np.int32), "TIFF"))[0, :, 0], [0, 7, 255])
    assert code_of(encoded(np.array([[0, 256]], np.int32), "TIFF")) == "unsupported_format"
    assert code_of(encoded(np.array([[-1, 255]], np.int32), "TIFF")) == "unsupported_format"


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format: str) -> None:
    """Inks give the colours that they print, within JPEG's accuracy. CMYK JPEGs are stored inverted, as by Adobe."""
    red, cyan, black = (0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 255)
    for ink, rgb in ((red, (255, 0, 0)), (cyan, (0, 255, 255)), (black, (0, 0, 0))):
        image = decoded(encoded(Image.new("CMYK", (16, 16), ink), file_format))
        assert np.abs(image[8, 8].astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, file_format: str) -> None:
    """A camera in each orientation stores the same upright scene differently, but all files give the same image."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)
    upright[16:, 24:] = (0, 0, 255)
    as_stored = {  # EXIF 2.3, tag 0x0112, defines which sides of the scene the first row and column are.
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    image = decoded(encoded(np.ascontiguousarray(as_stored), file_format, exif=exif, **options))
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).max() <= 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_fail_a_sound_picture() -> None:
    data = encoded(noise_hw_u8(16, 16), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert decoded(data).shape == (16, 16, 3)


def test_every_page_of_a_tiff_is_a_frame_of_its_own_size() -> None:
    pages = [noise_hw_u8(10, 12, seed=1), noise_hw_u8(20, 8, seed=2), noise_hw_u8(5, 5, seed=3)]
    file = open_image(tiff_of(pages), LIMITS)
    assert file.n_frames == 3
    for index in (2, 0, 1, 1):  # Frames can be read in any order and repeatedly.
        np.testing.assert_array_equal(file.frame(index)[:, :, 0], pages[index])
        assert file.geometry(index).decoded_bytes == 3 * pages[index].size


def test_thumbnail_pages_are_not_frames() -> None:
    def page(kind: int) -> dict[int, int]:
        return {254: kind}

    full, thumbnail = Image.fromarray(noise_hw_u8(20, 20)), Image.fromarray(noise_hw_u8(4, 4))
    buffer = io.BytesIO()
    thumbnail.encoderinfo = {"tiffinfo": page(1)}
    full.save(buffer, "TIFF", save_all=True, append_images=[thumbnail], tiffinfo=page(0))
    file = open_image(buffer.getvalue(), LIMITS)
    assert file.n_frames == 1
    assert file.frame(0).shape == (20, 20, 3)


def test_a_frame_that_is_not_there() -> None:
    file = open_image(encoded(noise_hw_u8(4, 4)), LIMITS)
    for index in (1, -1):
        with pytest.raises(ItemError) as caught:
            file.frame(index)
        assert caught.value.code == "frame_not_found"


def test_content_decides_not_the_name() -> None:
    assert code_of(b"study_id,uri\n1,a.png\n") == "unsupported_format"
    assert code_of(b"BMI,age\n31,28\n23,34\n and more of it") == "unsupported_format"
    assert code_of(b"%PDF-1.7") == "unsupported_format"
    assert code_of(encoded(noise_hw_u8(4, 4), "GIF")) == "unsupported_format"
    assert code_of(encoded(noise_hw_u8(4, 4), "WEBP")) == "unsupported_format"


def test_no_bytes_and_no_pixels() -> None:
    assert code_of(b"") == "empty_image"
    assert code_of(handmade_png(0, 5, 8, 0, b"")) == "empty_image"
    bitmap = bytearray(encoded(noise_hw_u8(4, 4), "BMP"))
    bitmap[18:22] = bytes(4)
    assert code_of(bytes(bitmap)) == "empty_image"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_truncated_files(file_format: str, kept: float) -> None:
    data = encoded(noise_hwc_u8(64, 64), file_format)
    assert code_of(data[: int(len(data) * kept)]) == "decode_error"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_flipped_bits_in_a_png_are_noticed() -> None:
    data = bytearray(encoded(noise_hw_u8(64, 64)))
    data[len(data) // 2] ^= 0x10
    assert code_of(bytes(data)) == "decode_error"


def test_sound_files_of_an_unreadable_kind_are_not_called_damaged() -> None:
    assert code_of(grey_tiff(64, 1, np.zeros(2).tobytes(), width=2, sample_format=3)) == "unsupported_format"
    twelve_bit_jpeg = encoded(noise_hw_u8(8, 8), "JPEG").replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c")
    assert code_of(twelve_bit_jpeg) == "unsupported_format"


def test_limits_come_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a few kB that declares 400 megapixels is refused by its header, before decoding starts."""
    bomb = handmade_png(20_000, 20_000, 8, 0, b"\0" * 1_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
        assert code_of(bomb) == "too_large"
    assert code_of(encoded(noise_hw_u8(4, 4)), DecodeLimits(max_pixels=15)) == "too_large"
    assert open_image(encoded(noise_hw_u8(4, 4)), DecodeLimits(max_pixels=16)).frame(0).shape == (4, 4, 3)
    assert code_of(encoded(noise_hw_u8(99, 99)), DecodeLimits(max_file_bytes=500)) == "too_large"


def test_our_limit_stands_alone(recwarn: pytest.WarningsRecorder) -> None:
    """Pillow's process-wide limit is not changed, and does not prevent a larger limit in a job file."""
    before = Image.MAX_IMAGE_PIXELS
    picture = handmade_png(20_000, 10_000, 1, 0, (b"\0" + b"\xaa" * 2_500) * 10_000)
    assert open_image(picture, DecodeLimits(max_pixels=200_000_000)).geometry(0).decoded_bytes == 600_000_000
    assert before == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_limits_hold_for_each_page() -> None:
    pages = [noise_hw_u8(4, 4), noise_hw_u8(40, 40), noise_hw_u8(4, 4)]
    file = open_image(tiff_of(pages), DecodeLimits(max_pixels=100))
    assert file.frame(0).shape == (4, 4, 3)
    with pytest.raises(ItemError) as caught:
        file.frame(1)
    assert caught.value.code == "too_large"
    assert file.frame(2).shape == (4, 4, 3)
    assert code_of(tiff_of([noise_hw_u8(2, 2)] * 51)) == "too_large"


def test_text_chunk_bomb() -> None:
    """A file with a text chunk that would unpack to 500 MB fails before the chunk is unpacked."""
    packer = zlib.compressobj(9)
    body = b"Comment\0\0" + b"".join(packer.compress(b"a" * 1_000_000) for _ in range(500)) + packer.flush()
    tracemalloc.start()
    data = handmade_png(1, 1, 8, 0, b"\0\0", extra=png_chunk(b"zTXt", body))
    assert code_of(data) == "decode_error"
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_chain_of_pages_that_bites_its_tail_ends() -> None:
    data = bytearray(encoded(noise_hw_u8(4, 4), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * entries, directory)
    assert open_image(bytes(data), LIMITS).n_frames == 1


def test_many_threads_at_once() -> None:
    pictures = [noise_hwc_u8(60, 80, seed=seed) for seed in range(8)]
    files = [encoded(picture, kind) for picture, kind in zip(pictures, ["PNG", "TIFF", "BMP", "PNG"] * 2, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        for index, image in enumerate(pool.map(decoded, files * 10)):
            np.testing.assert_array_equal(image, pictures[index % 8])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
    kept=st.floats(0.05, 1.0),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_of_any_sort_is_an_item_error_or_a_picture(
    kind: str, edits: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(encoded(noise_hwc_u8(12, 11), kind))
    for place, value in edits:
        data[int(place * len(data))] = value
    try:
        file = open_image(bytes(data[: int(len(data) * kept) + 1]), LIMITS)
        image = file.frame(0)
    except ItemError:
        return
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
