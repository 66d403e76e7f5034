"""The preview page: private, with every kind by itself and with all kinds, and without anything from outside."""

import re
from pathlib import Path

import numpy as np

from diagchd_batch.config.training_block import AugmentationConfig
from diagchd_batch.storage import open_store
from diagchd_batch.training.preview import EPOCHS_SHOWN, write_preview


def test_the_page_shows_each_kind_and_each_image(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (2, 24, 32, 3), dtype=np.uint8)
    masks = np.zeros((2, 24, 32), np.uint8)
    masks[0, 8:16, 8:20] = 2
    store = open_store(str(tmp_path))
    key = write_preview(store, images, masks, ["i-1", "i-2"], AugmentationConfig(mirror=True), seed=1)
    text = (tmp_path / key).read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    for kind in ("shift", "rotation_deg", "scale", "gain", "attenuation", "shadow", "speckle", "blur"):
        assert len([caption for caption in captions if caption.startswith(f"{kind} ")]) == 2
    assert "mirrored" in captions and any(caption.startswith("time_gain,") for caption in captions)
    assert captions.count(f"epoch {EPOCHS_SHOWN}") == 2
    assert "IDENTIFIED" in text and "Image i-2" in text
    assert not re.findall(r"(?:href|src)=\"(?!data:)", text)
