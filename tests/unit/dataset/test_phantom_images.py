from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dataset.phantom import Split, draw_cohort, draw_study, generate_image, generate_study_image
from dataset.phantom.generation import PhantomImage
from dataset.phantom.rendering.anatomy import Heart, heart_fields, mask_fields
from dataset.phantom.rendering.lesions import SHARES, Disease, Lesion, with_disease
from dataset.phantom.rendering.scanner import DEVICES, Device

GRID = (144, 192)


def _resized(array: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize(GRID[::-1], Image.Resampling.NEAREST))


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_grid_rendering_equals_rendering_in_full_and_resizing(device: Device) -> None:
    study = replace(draw_study(1, Split.OTHER, 4), device=device)
    full, small = generate_study_image(study, 0), generate_study_image(study, 0, grid=GRID)
    assert full.pixels.shape[:2] == full.mask_hw_u8.shape == (device.height, device.width)
    assert full.image_hwc_u8.shape[2] == 3 and full.image_hwc_u8.dtype == full.mask_hw_u8.dtype == np.uint8
    np.testing.assert_array_equal(small.image_hwc_u8, _resized(full.image_hwc_u8))
    np.testing.assert_array_equal(small.mask_hw_u8, _resized(full.mask_hw_u8))


def test_same_key_same_image_and_another_key_another_image() -> None:
    first = generate_image(1, Split.OTHER, 7, 0, GRID)
    np.testing.assert_array_equal(first.pixels, generate_image(1, Split.OTHER, 7, 0, GRID).pixels)
    others = [(2, Split.OTHER, 7, 0), (1, Split.GATE, 7, 0), (1, Split.OTHER, 8, 0), (1, Split.OTHER, 7, 1)]
    for key in others:
        assert np.mean(generate_image(*key, GRID).image_hwc_u8 != first.image_hwc_u8) > 0.2


@pytest.fixture(scope="module")
def images() -> list[PhantomImage]:
    return [generate_study_image(study, 0, GRID) for study in draw_cohort(2, Split.OTHER, 48)]


def test_masks_are_of_a_size_that_can_be_learnt(images: list[PhantomImage]) -> None:
    masks = np.array([image.mask_hw_u8 for image in images])
    assert set(np.unique(masks)) == {0, 1, 2}
    heart_share = (masks > 0).mean((1, 2))
    assert 0.10 < np.median(heart_share) < 0.25 and heart_share.min() > 0.04
    # The diameter of the largest disc in the septum is its thickness in pixels.
    thickness = [2 * ndimage.distance_transform_edt(mask == 1).max() - 1 for mask in masks]
    assert np.median(thickness) >= 4 and np.quantile(thickness, 0.1) >= 3


def test_heart_holds_dark_blood_and_a_brighter_septum(images: list[PhantomImage]) -> None:
    for image in images:
        grey, mask = image.image_hwc_u8.mean(2), image.mask_hw_u8
        assert np.quantile(grey[mask == 2], 0.2) < 0.6 * np.quantile(grey[mask == 1], 0.6) + 4


def _areas(heart: Heart) -> dict[str, int]:
    u, v = np.meshgrid(np.linspace(-1.0, 1.2, 220), np.linspace(-0.8, 0.8, 160), indexing="ij")
    blood = heart_fields(heart, 0.0, u, v).blood < 0
    septum = mask_fields(heart, u, v)[1] < 0
    ventricles = u > max(heart.mitral_level, heart.tricuspid_level) + 0.05
    return {
        "left": np.sum(blood & ventricles & (v > heart.septum_shift)),
        "right": np.sum(blood & ventricles & (v < heart.septum_shift)),
        "septum": septum.sum(),
        "right inflow": np.sum(blood & (u < heart.tricuspid_level) & (v < 0)),
    }


@pytest.mark.parametrize(
    ("lesion", "part", "sign"),
    [
        (Lesion.VENTRICULAR_SEPTAL_DEFECT, "septum", -1),
        (Lesion.ATRIOVENTRICULAR_SEPTAL_DEFECT, "septum", -1),
        (Lesion.HYPOPLASTIC_LEFT_HEART, "left", -1),
        (Lesion.HYPOPLASTIC_RIGHT_HEART, "right", -1),
        (Lesion.COARCTATION, "left", -1),
        (Lesion.EBSTEIN, "right inflow", 1),
    ],
)
def test_lesion_changes_its_part_of_the_heart_the_more_the_severer_it_is(lesion: Lesion, part: str, sign: int) -> None:
    hearts = [with_disease(Heart(), Disease(lesion, severity, 0.6)) for severity in (0.2, 0.6, 1.0)]
    sizes = [sign * int(_areas(heart)[part]) for heart in (Heart(), *hearts)]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)


def test_shares_of_lesions_are_a_distribution() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert set(SHARES) == set(Lesion) - {Lesion.NORMAL}
