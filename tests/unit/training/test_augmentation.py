"""Augmentation: the mask goes where the image goes, seeds decide everything, and each kind does what it says."""

from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.training_block import AugmentationConfig
from diagchd_batch.training.augmentation import augmented

HEIGHT, WIDTH = 96, 128
OFF: dict[str, Any] = dict.fromkeys(AugmentationConfig.model_fields) | {"mirror": False}
GEOMETRY = {"shift": (-0.1, 0.1), "rotation_deg": (-30, 30), "scale": (0.8, 1.25), "mirror": True}
SETTINGS = {
    "shift": (0.1, 0.1),
    "rotation_deg": (15, 15),
    "scale": (1.2, 1.2),
    "gain": (0.7, 0.7),
    "time_gain": (-6, 6),
    "attenuation": (6, 6),
    "shadow": (0.6, 0.6),
    "speckle": (0.15, 0.15),
    "blur": (1.5, 1.5),
    "sector_crop": (0.3, 0.3),
    "mirror": True,
}


def _only(**kinds: Any) -> AugmentationConfig:
    return AugmentationConfig(**{**OFF, **kinds})


def _heart() -> np.ndarray:
    """A mask with two ellipses that do not lie in the centre."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[((rows - 50) / 25) ** 2 + ((columns - 55) / 35) ** 2 < 1] = 2
    mask[((rows - 45) / 15) ** 2 + ((columns - 60) / 6) ** 2 < 1] = 1
    return mask


def _picture() -> tuple[np.ndarray, np.ndarray]:
    """A sector of speckle with a heart, and its mask."""
    mask = _heart()
    grey = np.random.default_rng(0).uniform(80, 160, mask.shape) + 20 * mask
    grey[:, :10] = grey[:, -10:] = 0
    return np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2), mask


@pytest.mark.parametrize("seed", range(20))
def test_a_mask_goes_where_its_image_goes(seed: int) -> None:
    mask = _heart()
    for value in (1, 2):
        painted = np.repeat(np.where(mask == value, 255, 0).astype(np.uint8)[..., np.newaxis], 3, axis=2)
        image, moved = augmented(painted, mask, _only(**GEOMETRY), np.random.default_rng(seed))
        differs = (image[..., 0] > 127) != (moved == value)
        # Bilinear and nearest sampling may differ only at the outline, where the image is neither black nor white.
        assert not (differs & ((image[..., 0] < 60) | (image[..., 0] > 195))).any()
        assert differs.mean() < 0.005


@pytest.mark.parametrize("rows_down", [-0.125, 0.25])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_shift_by_whole_pixels_moves_image_and_mask_exactly(rows_down: float, mirror: bool) -> None:
    image, mask = _picture()
    generator = np.random.default_rng(3 if mirror else 0)
    moved_image, moved_mask = augmented(image, mask, _only(shift=(rows_down, rows_down), mirror=mirror), generator)
    rows, columns = round(rows_down * HEIGHT), round(rows_down * WIDTH)
    expected = []
    for picture in (image, mask):
        turned = picture[:, ::-1] if mirror else picture
        wanted = np.zeros_like(picture)
        wanted[max(rows, 0) : HEIGHT + min(rows, 0), max(columns, 0) : WIDTH + min(columns, 0)] = turned[
            max(-rows, 0) : HEIGHT + min(-rows, 0), max(-columns, 0) : WIDTH + min(-columns, 0)
        ]
        expected.append(wanted)
    inside = (
        slice(max(rows, 0) + 1, HEIGHT + min(rows, 0) - 1),
        slice(max(columns, 0) + 1, WIDTH + min(columns, 0) - 1),
    )
    assert np.array_equal(moved_image[inside], expected[0][inside])
    assert np.array_equal(moved_mask, expected[1])


def test_the_mirror_turns_half_of_the_images() -> None:
    image, mask = _picture()
    turned = 0
    for seed in range(200):
        moved_image, moved_mask = augmented(image, mask, _only(mirror=True), np.random.default_rng(seed))
        turned += np.array_equal(moved_mask, mask[:, ::-1]) and np.array_equal(moved_image, image[:, ::-1])
        assert np.array_equal(moved_mask, mask) or np.array_equal(moved_mask, mask[:, ::-1])
    assert 70 < turned < 130


def test_mirroring_is_off_unless_it_is_asked_for() -> None:
    assert AugmentationConfig().mirror is False


def test_the_same_seed_gives_the_same_and_another_seed_gives_another_image() -> None:
    image, mask = _picture()
    config = AugmentationConfig()
    seed = (7, 2, 30, 4711)  # seed, stage, epoch, image
    first = augmented(image, mask, config, np.random.default_rng(seed))
    again = augmented(image, mask, config, np.random.default_rng(seed))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    for place in range(len(seed)):
        other = tuple(value + (number == place) for number, value in enumerate(seed))
        assert not np.array_equal(first[0], augmented(image, mask, config, np.random.default_rng(other))[0])


def test_everything_off_changes_nothing_and_inputs_are_never_changed() -> None:
    image, mask = _picture()
    kept = image.copy(), mask.copy()
    same = augmented(image, mask, _only(), np.random.default_rng(0))
    assert np.array_equal(same[0], image) and np.array_equal(same[1], mask)
    augmented(image, mask, AugmentationConfig(**SETTINGS), np.random.default_rng(0))
    same[0][:] = same[1][:] = 9
    assert np.array_equal(image, kept[0]) and np.array_equal(mask, kept[1])


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_each_kind_by_itself_is_visible(kind: str) -> None:
    image, mask = _picture()
    changes = [
        augmented(image, mask, _only(**{kind: SETTINGS[kind]}), np.random.default_rng(seed))[0] for seed in range(4)
    ]
    assert max(np.abs(one.astype(float) - image).mean() for one in changes) > 2


@pytest.mark.parametrize("kind", ["gain", "time_gain", "attenuation", "shadow", "speckle", "blur"])
def test_kinds_of_grey_values_leave_the_mask_alone(kind: str) -> None:
    image, mask = _picture()
    assert np.array_equal(augmented(image, mask, _only(**{kind: SETTINGS[kind]}), np.random.default_rng(1))[1], mask)


@pytest.mark.parametrize("kind", ["gain", "time_gain", "attenuation", "shadow", "speckle"])
def test_what_is_black_stays_black(kind: str) -> None:
    image, mask = _picture()
    changed = augmented(image, mask, _only(**{kind: SETTINGS[kind]}), np.random.default_rng(1))[0]
    assert not changed[:, :10].any() and not changed[:, -10:].any()


def test_one_kind_does_not_change_with_what_else_is_on() -> None:
    image, mask = _picture()
    alone = augmented(image, mask, _only(rotation_deg=(-30, 30)), np.random.default_rng(5))[1]
    beside_others = augmented(
        image, mask, _only(rotation_deg=(-30, 30), speckle=(0, 1), gain=(0.5, 2)), np.random.default_rng(5)
    )[1]
    assert np.array_equal(alone, beside_others)


def test_directions_of_the_kinds() -> None:
    image, mask = _picture()
    bright = image.astype(float)[:, 10:-10]

    def change(**kinds: Any) -> np.ndarray:
        changed = augmented(image, mask, _only(**kinds), np.random.default_rng(2))[0]
        return (changed.astype(float)[:, 10:-10] - bright)[..., 0]

    assert change(gain=(0.7, 0.7)).mean() == pytest.approx(-0.3 * bright.mean(), abs=1)
    lost = change(attenuation=(6, 6)).mean(axis=1)
    assert abs(lost[0]) < 1 and lost[-1] == pytest.approx(-255 * 6 / 60, abs=1.5)
    assert change(shadow=(0.6, 0.6)).max() <= 1
    assert (
        augmented(image, mask, _only(blur=(2, 2)), np.random.default_rng(2))[0][:, 20:-20].std()
        < image[:, 20:-20].std()
    )
    enlarged = augmented(image, mask, _only(scale=(1.2, 1.2)), np.random.default_rng(2))[1]
    assert (enlarged > 0).sum() == pytest.approx(1.44 * (mask > 0).sum(), rel=0.02)
    narrow_image, narrow_mask = augmented(image, mask, _only(sector_crop=(0.5, 0.5)), np.random.default_rng(2))
    gone = ~narrow_image.any(axis=(0, 2))
    assert gone.sum() >= 0.5 * WIDTH and not narrow_mask[:, gone].any()


def test_extreme_settings_and_colours_stay_in_range() -> None:
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = _heart()
    wildest = AugmentationConfig(
        shift=(-1, 1), rotation_deg=(-180, 180), scale=(0.1, 10), gain=(0.1, 10), time_gain=(-60, 60),
        attenuation=(0, 60), shadow=(0, 1), speckle=(0, 1), blur=(0, 20), sector_crop=(0, 1), mirror=True,
    )  # fmt: skip
    for seed in range(30):
        image, moved = augmented(colours, mask, wildest, np.random.default_rng(seed))
        assert image.dtype == moved.dtype == np.uint8
        assert image.shape == colours.shape and moved.shape == mask.shape
        assert set(np.unique(moved)) <= {0, 1, 2}
    gain = augmented(colours, mask, _only(gain=(10, 10)), generator)[0]
    assert np.array_equal(gain, np.minimum(colours.astype(int) * 10, 255))  # bright values saturate, and never wrap
