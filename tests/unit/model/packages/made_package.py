"""A model package in a directory, made from the bundled compact model."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from diagchd_batch.bundled_files import bundled_path

CHECKPOINT = "weights/fold-0.h5"


def make_package(directory: Path, **changes: Any) -> Path:
    """Write a package with one fold to `directory`; `changes` replace fields of its card."""
    bundled = bundled_path("configs/models/diagchd-compact")
    card = json.loads((bundled / "card.json").read_text(encoding="utf-8"))
    checkpoint = directory / CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    shutil.copyfile(bundled / CHECKPOINT, checkpoint)
    data = checkpoint.read_bytes()
    weights = {"file": CHECKPOINT, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    card |= {"name": "own-model", "weights": [weights]} | changes
    (directory / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return directory
