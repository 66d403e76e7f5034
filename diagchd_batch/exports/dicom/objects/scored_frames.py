"""The frames that an export is about: what the run says of each, and the object that it was read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.applied_decisions import apply_decisions
from diagchd_batch.exports.chosen_images import labels_at_source
from diagchd_batch.images.formats.dicom.dicom_reader import RESULT_MANUFACTURER
from diagchd_batch.results.columns import CLASSES
from diagchd_batch.results.run_record import RunRecord

if TYPE_CHECKING:
    from diagchd_batch.statistics.recalibration import Recalibration

MAKER = RESULT_MANUFACTURER
"""The Manufacturer of the objects. Readers of images know by it that an object is a result and no image."""

WHOLE_HEART = "whole_heart"
"""The septum and the rest of the heart together."""


@dataclass(frozen=True)
class ScoredFrame:
    """The results of one frame.

    Attributes:
        frame: Number of the frame, from 0.
        labels: Class numbers at the pixels of the source frame, uint8 [height, width].
        chd_probability: Probability of congenital heart disease.
        quality_flags: Names of the quality flags that were raised.
        areas_mm2: Areas by class name, and of `WHOLE_HEART`, where the size of a pixel is known.
        septum_length_mm: Length of the septum, where the size of a pixel is known.
        study_score: The score of the frame's study, which all its images make.
    """

    frame: int
    labels: np.ndarray
    chd_probability: float
    quality_flags: tuple[str, ...] = ()
    areas_mm2: Mapping[str, float] = field(default_factory=dict)
    septum_length_mm: float | None = None
    study_score: float | None = None


@dataclass(frozen=True)
class ScoringModel:
    """What scored: the model of a run, as objects name it.

    Attributes:
        run_id: The run.
        name: The model's name.
        weights_digest: SHA-256 of its weights.
        software_version: Version of this program that scored.
        scored_at: When the run began, in UTC. All dates of objects are made of it, so that they never change.
        simulated: Whether the input is simulated.
        calibration: The calibration of the model's package; None if it has none, or one that changes nothing.
    """

    run_id: str
    name: str
    weights_digest: str
    software_version: str
    scored_at: datetime
    simulated: bool
    calibration: "Recalibration | None" = None

    @classmethod
    def of_run(cls, record: RunRecord) -> "ScoringModel":
        """Return the model that a run's record names.

        Args:
            record: The run's record.
        """
        evaluation: Mapping[str, Any] = record.config.get("evaluation", {})
        known = {name: evaluation[name] for name in ("study_score", "package_decisions") if name in evaluation}
        return cls(
            record.run_id,
            record.model.name,
            record.model.weights_digest,
            record.package_version,
            record.started_at.astimezone(UTC),
            record.simulated,
            apply_decisions(record.model.decisions, EvaluationConfig(**known)).recalibration,
        )


def scored_frame(row: Mapping[str, Any]) -> ScoredFrame:
    """Return the results of a frame.

    Args:
        row: A row of `chosen_images`. Rows of earlier schema versions have no millimetres.
    """
    areas = {name: row.get(f"{name}_area_mm2") for name in (*CLASSES, WHOLE_HEART)}
    return ScoredFrame(
        row["frame"],
        labels_at_source(row),
        row["chd_probability"],
        tuple(row["quality_flags"] or ()),
        {name: area for name, area in areas.items() if area is not None},
        row.get("septum_length_mm"),
        row.get("study_chd_score"),
    )
