"""The ultrasound image that is found in pictures of scanner screens."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from diagchd_batch.images.regions.frame_region import Box
from diagchd_batch.images.regions.sector import find_sector

HEIGHT, WIDTH = 480, 640
RECTANGLE: Box = (60, 120, 360, 400)
FAN: Box = (40, 140, 400, 400)
TOLERANCE_PX = 16


def speckle(seed: int = 0, mean: float = 80.0) -> np.ndarray:
    """Return a grey picture [480, 640] with the texture of ultrasound."""
    generator = np.random.default_rng(seed)
    return np.clip(generator.rayleigh(mean / 1.25, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)


def rectangle() -> np.ndarray:
    top, left, height, width = RECTANGLE
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top : top + height, left : left + width] = True
    return inside


def fan() -> np.ndarray:
    """Return a sector with its apex at the top, which `FAN` encloses."""
    top, left, height, width = FAN
    picture = Image.new("1", (WIDTH, HEIGHT))
    centre = left + width // 2
    box = (centre - height, top - height, centre + height, top + height - 1)
    ImageDraw.Draw(picture).pieslice(box, 60, 120, fill=1)
    return np.asarray(picture)


def screen(inside: np.ndarray, tissue: np.ndarray, background: int = 0) -> np.ndarray:
    picture = np.where(inside, tissue, np.uint8(background))
    return np.repeat(picture[:, :, np.newaxis], 3, axis=2).astype(np.uint8)


def with_scanner_furniture(picture: np.ndarray) -> np.ndarray:
    """Draw what scanners draw: frames, lines of text on all sides, a ruler, and grey and colour bars."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, WIDTH - 5, HEIGHT - 5), outline=(90, 90, 140), width=2)
    draw.text((14, 10), "HOSPITAL NAME   DOE^JANE   01-02-1980   TIs 0.4  MI 1.2", fill=(255, 255, 255))
    for line in range(12):
        draw.text((12, 60 + 22 * line), f"Gn {line} dB", fill=(230, 230, 230))
        draw.text((WIDTH - 60, 60 + 22 * line), f"{line} cm", fill=(230, 230, 230))
    draw.text((250, HEIGHT - 24), "FETAL HEART 4CH", fill=(255, 255, 0))
    for tick in range(60, 440, 20):
        draw.line((WIDTH - 74, tick, WIDTH - 68, tick), fill=(255, 255, 255))
    for step in range(200):
        draw.line((84, 120 + step, 96, 120 + step), fill=(255 - step, 255 - step, 255 - step))
        draw.line((WIDTH - 92, 120 + step, WIDTH - 82, 120 + step), fill=(255 - step, step, 128))
    return np.asarray(image)


def assert_close(found: Box | None, expected: Box) -> None:
    assert found is not None
    edges = [(box[0], box[1], box[0] + box[2], box[1] + box[3]) for box in (found, expected)]
    assert all(abs(one - other) <= TOLERANCE_PX for one, other in zip(*edges, strict=True)), (found, expected)


SHAPES = pytest.mark.parametrize(("inside", "expected"), [(rectangle(), RECTANGLE), (fan(), FAN)], ids=["box", "fan"])


@SHAPES
@pytest.mark.parametrize("background", [0, 18, 60])
def test_frames_text_rulers_and_bars_are_left_out(inside: np.ndarray, expected: Box, background: int) -> None:
    assert_close(find_sector(with_scanner_furniture(screen(inside, speckle(), background))), expected)


@SHAPES
def test_dark_fluid_in_the_middle_and_dark_tissue_at_the_sides_belong_to_it(inside: np.ndarray, expected: Box) -> None:
    tissue = speckle().astype(np.float32)
    tissue[:, :220] *= 0.1
    tissue[:, 440:] *= 0.1
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    tissue[(rows - 240) ** 2 + (columns - 320) ** 2 < 60**2] = 1
    assert_close(find_sector(with_scanner_furniture(screen(inside, tissue.astype(np.uint8)))), expected)


@SHAPES
def test_noise_of_a_jpeg_beside_it_is_no_texture(inside: np.ndarray, expected: Box) -> None:
    picture = screen(inside, speckle()).astype(np.int16)
    picture += np.random.default_rng(3).integers(-1, 2, picture.shape, np.int16)
    assert_close(find_sector(np.clip(picture, 0, 255).astype(np.uint8)), expected)


def test_a_bright_flat_panel_is_not_taken_for_it() -> None:
    picture = screen(rectangle(), speckle())
    picture[:, 540:] = 170
    assert_close(find_sector(picture), RECTANGLE)


def test_of_two_images_the_larger_is_found() -> None:
    inside = rectangle()
    inside[:, 300:330] = False  # 180 columns on the left of the gap, 190 on the right
    inside[:, 300:340] = False
    top, _, height, _ = RECTANGLE
    inside[top : top + height, 90:300] = True
    assert_close(find_sector(screen(inside, speckle())), (top, 90, height, 210))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
        screen(np.ones((HEIGHT, WIDTH), bool), speckle()),
        with_scanner_furniture(np.zeros((HEIGHT, WIDTH, 3), np.uint8)),
        screen(np.ones((HEIGHT, WIDTH), bool), speckle())[:5, :7],
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 400, 3), np.uint8),
    ],
    ids=["black", "flat", "full bleed", "text alone", "tiny", "one pixel", "one row"],
)
def test_pictures_without_borders_and_without_ultrasound_are_left_whole(picture: np.ndarray) -> None:
    assert find_sector(picture) is None


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_size_of_the_picture_does_not_matter(scale: float) -> None:
    size = round(scale * WIDTH), round(scale * HEIGHT)
    picture = Image.fromarray(with_scanner_furniture(screen(fan(), speckle()))).resize(size, Image.Resampling.BOX)
    found = find_sector(np.asarray(picture))
    assert found is not None
    top, left, height, width = (round(length / scale) for length in found)
    assert_close((top, left, height, width), FAN)
