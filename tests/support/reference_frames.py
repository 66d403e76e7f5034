"""Columns of frames with a reference mask, for runs that tests write directly."""

from typing import Any

from diagchd_batch.results.columns import CLASSES, SURFACE_CLASSES

_PIXELS = 100


def overlap(dice: float, probability: float = 0.4) -> dict[str, Any]:
    """Return the columns of a scored frame whose prediction overlaps the reference with this Dice coefficient.

    Each class has the same number of predicted and reference pixels.
    """
    common = round(_PIXELS * dice)
    return {
        "chd_probability": probability,
        "reference_status": "ok",
        **{f"{name}_px": _PIXELS for name in CLASSES},
        **{f"reference_px_{name}": _PIXELS for name in CLASSES},
        **{f"intersection_px_{name}": common for name in CLASSES},
        "intersection_px_whole_heart": 2 * common,
        **{f"hd95_source_px_{name}": 3.0 for name in SURFACE_CLASSES},
        **{f"assd_source_px_{name}": 1.0 for name in SURFACE_CLASSES},
        "soft_dice": dice,
        "seg_loss": 0.5,
    }
