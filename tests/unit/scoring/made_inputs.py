"""Small image files in a storage, the images planned for them, and a model that is a simple function of the pixels."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.planned_images import PlannedImage

HEIGHT, WIDTH = 24, 32

SPEC = ModelSpec(
    name="plain-function",
    package="diagchd-compact",
    card=load_card("diagchd-compact"),
    weights="seed:0",
    weights_digest="0" * 64,
    architecture="plain/1",
    preprocessing="none/1",
    height=HEIGHT,
    width=WIDTH,
    precision="float32",
    chd_threshold=0.5,
)


class PlainModel:
    """A model that labels pixels by brightness. The probability is the mean brightness. It remembers its batches."""

    spec = SPEC

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self.batches: list[np.ndarray] = []

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        assert images_bhwc_u8.shape == (self.batch_size, HEIGHT, WIDTH, 3)
        self.batches.append(images_bhwc_u8.copy())
        labels = (images_bhwc_u8[..., 0] // 86).astype(np.uint8)
        probability = images_bhwc_u8.mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
        losses = None
        if reference_bhw_u8 is not None:
            losses = (labels != reference_bhw_u8).mean(axis=(1, 2), dtype=np.float32)
        return Prediction(labels, probability, losses, None if losses is None else 1 - losses)


def png(value: int = 0, *, size: tuple[int, int] = (HEIGHT, WIDTH), mode: str = "RGB") -> bytes:
    """Return a PNG of one grey value. `size` is (height, width)."""
    buffer = io.BytesIO()
    Image.new(mode, (size[1], size[0]), value if mode == "L" else (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def tiff(values: list[int]) -> bytes:
    """Return a TIFF with one page for each grey value."""
    buffer = io.BytesIO()
    pages = [Image.new("L", (WIDTH, HEIGHT), value) for value in values]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def plan_files(
    directory: Path,
    files: dict[str, bytes],
    *,
    masks: dict[str, bytes] | None = None,
    frames: dict[str, tuple[int, ...]] | None = None,
    shard: int = 0,
) -> list[PlannedImage]:
    """Write `files`, and `masks` by the names of their images, below `directory`. Return them as planned images."""
    storage = open_store(str(directory))
    images = []
    for position, (name, data) in enumerate(files.items()):
        storage.replace(name, data)
        info = storage.stat(name)
        mask, mask_info = None, None
        if masks and name in masks:
            mask = f"masks/{name}"
            storage.replace(mask, masks[name])
            mask_info = storage.stat(mask)
        token = hashlib.sha256(name.encode()).hexdigest()[:16]
        images.append(
            PlannedImage(
                shard=shard,
                position=position,
                subject_id=f"p-{token}",
                study_id=f"s-{token}",
                image_id=f"i-{token}",
                uri=name,
                frames=(frames or {}).get(name),
                size_bytes=info.size_bytes,
                etag=info.etag,
                modified_ns=info.modified_ns,
                mask_uri=mask,
                mask_size_bytes=mask_info and mask_info.size_bytes,  # type: ignore[arg-type]
                mask_etag=mask_info and mask_info.etag,  # type: ignore[arg-type]
                mask_modified_ns=mask_info and mask_info.modified_ns,  # type: ignore[arg-type]
            )
        )
    return images
