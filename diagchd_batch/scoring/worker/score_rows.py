"""Computes the columns of a score file (`results.columns.scores`): from a frame and its prediction to its row."""

from dataclasses import asdict
from typing import Any

import numpy as np

from diagchd_batch.images.formats import FrameMetadata
from diagchd_batch.images.label_map_shapes import class_pixels
from diagchd_batch.images.quality import quality_flags
from diagchd_batch.images.spacing.heart_measurements import (
    GridSpacing,
    lies_in_calibrated_region,
    measure_heart,
    spacing_on_grid,
)
from diagchd_batch.images.spacing.spacing_status import RegionCalibration, SpacingStatus
from diagchd_batch.images.surface_distance import surface_distances
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.view_check import EVALUABLE_FROM
from diagchd_batch.results.columns import CLASSES, STATUS_FAILED, STATUS_OK, SURFACE_CLASSES, WHOLE_HEART
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.scoring.decoding.file_reader import FrameInput

Row = dict[str, Any]
"""The values of a row by column. A missing column is null."""


def failed_row(frame: FrameInput) -> Row:
    """Return the row of a frame, or of a whole file, that failed.

    Args:
        frame: The frame, with `error`.
    """
    assert frame.error is not None
    return _identity(frame) | {"status": STATUS_FAILED, "error_code": frame.error.value}


def scored_row(frame: FrameInput, prediction: Prediction, slot: int, chd_threshold: float) -> Row:
    """Return the row of a frame that was scored.

    Args:
        frame: The frame, with `decoded`.
        prediction: The prediction of its batch.
        slot: The position of the frame in its batch, from 0.
        chd_threshold: The probability in [0, 1] from which a frame is called CHD.
    """
    assert frame.decoded is not None
    label_map = prediction.label_maps_bhw_u8[slot]
    probability = float(prediction.chd_probability_b_f32[slot])
    region = frame.decoded.region
    view_score = _value(prediction.view_score_b_f32, slot)
    spacing = spacing_on_grid(_calibration(frame.decoded.metadata), region, label_map)
    row = _identity(frame) | {
        "status": STATUS_OK,
        "chd_probability": probability,
        "chd_call": probability >= chd_threshold,
        **{f"{name}_px": count for name, count in zip(CLASSES, class_pixels(label_map), strict=True)},
        "chd_probability_sd": _value(prediction.chd_probability_sd_b_f32, slot),
        "mask_disagreement": _value(prediction.mask_disagreement_b_f32, slot),
        "view_score": view_score,
        "evaluable": None if view_score is None else view_score >= EVALUABLE_FROM,
        "quality_flags": list(quality_flags(label_map, probability)),
        "source_height": frame.decoded.source_height,
        "source_width": frame.decoded.source_width,
        "frame_time_ms": frame.decoded.metadata.time_ms,
        "colour_from": frame.decoded.metadata.colour_from,
        **{f"region_{name}": value for name, value in asdict(region).items()},
        **_millimetres(spacing, label_map),
        "mask_png": encode_mask(label_map),
    }
    if frame.reference is not None:
        row["reference_status"] = frame.reference.status
        if frame.reference.label_map_hw_u8 is not None:
            row |= _comparison(frame, prediction, slot, frame.reference.label_map_hw_u8, spacing)
    return row


def _identity(frame: FrameInput) -> Row:
    return {
        "subject_id": frame.image.subject_id,
        "study_id": frame.image.study_id,
        "image_id": frame.image.image_id,
        "frame": frame.frame,
        "source_frames": frame.source_frames,
        "fold": frame.image.fold,
    }


def _value(values_b: np.ndarray | None, slot: int) -> float | None:
    return None if values_b is None else float(values_b[slot])


def _calibration(metadata: FrameMetadata) -> RegionCalibration:
    status = metadata.spacing_status or SpacingStatus.NOT_IN_FORMAT
    return RegionCalibration(metadata.pixel_height_mm, metadata.pixel_width_mm, SpacingStatus(status), metadata.sector)


def _millimetres(spacing: GridSpacing, label_map: np.ndarray) -> Row:
    """Measure the predicted mask in millimetres, where they are known."""
    row: Row = {"spacing_status": spacing.status.value}
    if spacing.source_pixel_mm is None or spacing.grid_pixel_mm is None:
        return row
    row["pixel_height_mm"], row["pixel_width_mm"] = spacing.source_pixel_mm
    return row | asdict(measure_heart(label_map, spacing.grid_pixel_mm))


def _comparison(
    frame: FrameInput, prediction: Prediction, slot: int, reference: np.ndarray, spacing: GridSpacing
) -> Row:
    """Compare the predicted mask with the reference mask: areas in grid pixels, distances in source pixels and mm."""
    assert frame.decoded is not None
    label_map = prediction.label_maps_bhw_u8[slot]
    source_pixels_per_grid_pixel = frame.decoded.region.source_pixels_per_grid_pixel(*label_map.shape)
    grid_pixel_mm = spacing.grid_pixel_mm
    if not lies_in_calibrated_region(_calibration(frame.decoded.metadata), frame.decoded.region, reference):
        grid_pixel_mm = None
    row: Row = {
        "seg_loss": _value(prediction.seg_loss_b_f32, slot),
        "soft_dice": _value(prediction.soft_dice_b_f32, slot),
        "reference_png": encode_mask(reference),
    }
    predicted_areas = {name: label_map == value for value, name in enumerate(CLASSES)}
    reference_areas = {name: reference == value for value, name in enumerate(CLASSES)}
    for name, area in reference_areas.items():
        row[f"reference_px_{name}"] = int(np.count_nonzero(area))
    predicted_areas[WHOLE_HEART], reference_areas[WHOLE_HEART] = label_map > 0, reference > 0
    for name, area in reference_areas.items():
        row[f"intersection_px_{name}"] = int(np.count_nonzero(area & predicted_areas[name]))
    for name in SURFACE_CLASSES:
        distances = surface_distances(predicted_areas[name], reference_areas[name], source_pixels_per_grid_pixel)
        row[f"hd95_source_px_{name}"] = distances.hd95
        row[f"assd_source_px_{name}"] = distances.assd
        if grid_pixel_mm is not None:
            distances = surface_distances(predicted_areas[name], reference_areas[name], grid_pixel_mm)
            row[f"hd95_mm_{name}"] = distances.hd95
            row[f"assd_mm_{name}"] = distances.assd
    return row
