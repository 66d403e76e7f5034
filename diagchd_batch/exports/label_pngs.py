"""Writes `export png`: the predicted masks as PNG files, named by tokens. Pseudonymised."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from diagchd_batch.errors import UsageError
from diagchd_batch.exports.chosen_images import ChosenImage, Row, labels_at_source
from diagchd_batch.exports.destinations import (
    ExportKind,
    check_apart,
    check_outside_shareable_exports,
    claim_growing,
)
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.storage import Store

_OWN_NAME = re.compile(r"[^/]+/s-[0-9a-f]{16}/i-[0-9a-f]{16}-\d{5,}\.png")


@dataclass
class LabelPngExport:
    """What an export wrote.

    Attributes:
        n_written: Files that were written.
        n_there: Files that were there already.
    """

    n_written: int = 0
    n_there: int = 0


def export_label_pngs(images: Iterable[ChosenImage], destination: Store, output: Store) -> LabelPngExport:
    """Write a PNG file for each scored frame: 8-bit grey, class numbers, with the size of the frame as it was read.

    Args:
        images: The images.
        destination: Where the files go: an empty or new place, or one that an earlier export of this kind wrote.
        output: The output that the images belong to.

    Returns:
        How many files were written.

    Raises:
        UsageError: The destination lies in the output or in a shareable export, or holds other files, or a file of it
            has other contents.
    """
    check_apart(destination, output)
    check_outside_shareable_exports(destination.uri)
    claim_growing(destination, ExportKind.LABEL_PNGS, _OWN_NAME, write=True)
    done = LabelPngExport()
    for image in images:
        for row in image.rows:
            if _write(destination, f"{image.run_id}/{image.study_id}/{image.image_id}-{row['frame']:05d}.png", row):
                done.n_written += 1
            else:
                done.n_there += 1
    return done


def _write(destination: Store, name: str, row: Row) -> bool:
    """Create a file. Return False if it is there already."""
    png = encode_mask(labels_at_source(row))
    if destination.create(name, png):
        return True
    if destination.read(name) != png:
        raise UsageError(
            f"{name} in {destination.uri} has changed since it was exported; move it away, or name an empty or new "
            "directory"
        )
    return False
