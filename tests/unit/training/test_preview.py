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
    ends = {kind: 2 for kind in ("shift", "rotation_deg", "scale", "gain")}
    ends |= {kind: 1 for kind in ("attenuation", "shadow", "speckle", "blur")}  # their other end changes nothing
    for kind, n_ends in ends.items():
        assert len([caption for caption in captions if caption.startswith(f"{kind} ")]) == n_ends
    assert "mirrored" in captions and "time_gain \N{MINUS SIGN}3 to 3, a curve" in captions
    assert "shift \N{MINUS SIGN}0.08" in captions
    assert captions.count(f"epoch {EPOCHS_SHOWN}") == 2
    assert "IDENTIFIED" in text and "Image i-2" in text
    assert not re.findall(r"(?:href|src)=\"(?!data:)", text)
