"""Writes a private page of augmented training images with their masks, to be looked at before a training."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from diagchd_batch import output_layout
from diagchd_batch.config.training_block import AugmentationConfig
from diagchd_batch.report.gallery.outlines import outline_path
from diagchd_batch.report.page_templates import filled_page
from diagchd_batch.storage import Store
from diagchd_batch.training.augmentation import augmented

EPOCHS_SHOWN = 5
_SEPTUM = 1
_CHANGES_NOTHING = {"scale": 1.0, "gain": 1.0} | dict.fromkeys(
    ("shift", "rotation_deg", "attenuation", "shadow", "speckle", "blur", "sector_crop"), 0.0
)
"""Kind -> the value with which an image stays as it is."""


@dataclass(frozen=True)
class Drawing:
    """One picture of the page.

    Attributes:
        width: Width of the grid in pixels.
        height: Height of the grid in pixels.
        image: The picture as a data URI.
        outlines: Name of an area (heart or septum) -> its outline as an SVG path.
        caption: Text below the picture.
    """

    width: int
    height: int
    image: str
    outlines: dict[str, str]
    caption: str


def write_preview(
    private: Store,
    images: np.ndarray,
    masks: np.ndarray,
    image_ids: Sequence[str],
    config: AugmentationConfig,
    seed: int,
) -> str:
    """Write the page. The first image is shown with each kind by itself; then each image is shown with all kinds.

    Args:
        private: The private tree of the output.
        images: uint8 [n, height, width, 3] on the model's grid, n at least 1.
        masks: uint8 [n, height, width], class numbers; zeros where an image has no mask.
        image_ids: The n tokens of the images.
        config: Which kinds are on, and their ranges.
        seed: Seed of the training.

    Returns:
        The key of the HTML file in the private tree.
    """
    kinds = _kinds_that_are_on(config)
    groups = {"Each kind by itself": _each_kind(images[0], masks[0], kinds, config, seed)} if kinds else {}
    for number, image_id in enumerate(image_ids):
        groups[f"Image {image_id}"] = _all_kinds(images[number], masks[number], config, (seed, number))
    text = filled_page("augmentation_preview.html.j2", "gallery.css", groups=groups, kinds=", ".join(kinds) or "none")
    key = output_layout.AUGMENTATION_PREVIEW_FILE
    private.replace(key, text.encode())
    return key


def _kinds_that_are_on(config: AugmentationConfig) -> list[str]:
    return [name for name in AugmentationConfig.model_fields if getattr(config, name)]


def _each_kind(
    image: np.ndarray, mask: np.ndarray, kinds: Sequence[str], config: AugmentationConfig, seed: int
) -> list[Drawing]:
    """Draw the image with each kind by itself, at the two ends of its range."""
    off = dict.fromkeys(AugmentationConfig.model_fields) | {"mirror": False}
    drawings = [_drawing(image, mask, "original")]
    for kind in kinds:
        value = getattr(config, kind)
        if kind == "mirror":
            drawings.append(_drawing(image[:, ::-1], mask[:, ::-1], "mirrored"))
        elif kind == "time_gain":  # a curve: its ends would be plain gain
            changed = augmented(image, mask, AugmentationConfig(**{**off, kind: value}), np.random.default_rng(seed))
            drawings.append(_drawing(*changed, f"{kind} {_number(value[0])} to {_number(value[1])}, a curve"))
        else:
            for end in dict.fromkeys(value):
                if end == _CHANGES_NOTHING.get(kind):
                    continue
                only = AugmentationConfig(**{**off, kind: (end, end)})
                changed = augmented(image, mask, only, np.random.default_rng(seed))
                drawings.append(_drawing(*changed, f"{kind} {_number(end)}"))
    return drawings


def _all_kinds(image: np.ndarray, mask: np.ndarray, config: AugmentationConfig, seed: tuple[int, int]) -> list[Drawing]:
    """Draw the image as several epochs see it."""
    drawings = [_drawing(image, mask, "original")]
    for epoch in range(EPOCHS_SHOWN):
        changed = augmented(image, mask, config, np.random.default_rng((*seed, epoch)))
        drawings.append(_drawing(*changed, f"epoch {epoch + 1}"))
    return drawings


def _drawing(image: np.ndarray, mask: np.ndarray, caption: str) -> Drawing:
    height, width = mask.shape
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    areas = {"heart": mask > 0, "septum": mask == _SEPTUM}
    outlines = {name: outline_path(area, height, width) for name, area in areas.items()}
    return Drawing(width, height, uri, {name: path for name, path in outlines.items() if path}, caption)


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
