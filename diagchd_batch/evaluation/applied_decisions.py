"""What the evaluation takes from a model's package: operating points, and the calibration of the study score."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.model.packages.decision_files import CalibrationFile, OperatingPointsFile, PackageDecisions

if TYPE_CHECKING:
    from diagchd_batch.statistics.recalibration import Recalibration

POINT_PREFIX = "package: "
"""Operating points of the package are named by it and their rule: ``package: sensitivity >= 0.95``."""

APPROXIMATE = "were chosen on scores of single folds' models, so for an ensemble they are approximate"


@dataclass(frozen=True)
class AppliedDecisions:
    """The decisions of a package that fit an evaluation.

    Attributes:
        points: The package's operating points under names that the job's own do not have.
        recalibration: The map of study scores to calibrated probabilities. It never changes the order of two studies.
            None if there is none, or if it leaves scores as they are.
        notes: What was applied, and what was left out and why.
    """

    points: tuple[OperatingPoint, ...] = ()
    recalibration: "Recalibration | None" = None
    notes: tuple[str, ...] = ()


def apply_decisions(decisions: PackageDecisions | None, config: EvaluationConfig) -> AppliedDecisions:
    """Return the decisions of a package that an evaluation applies.

    A threshold or a calibration that was chosen on another study score, such as the maximum in place of the mean, is
    left out, because it would mean something else.

    Args:
        decisions: What the run's record holds; None for a model without decisions.
        config: The evaluation's settings.
    """
    if decisions is None or not config.package_decisions:
        return AppliedDecisions()
    points: tuple[OperatingPoint, ...] = ()
    recalibration, notes = None, []
    if decisions.operating_points is not None and decisions.operating_points.points:
        if reason := _other_score(decisions.operating_points, config):
            notes.append(f"the operating points of the model's package are left out: {reason}")
        else:
            points = tuple(_named_points(decisions.operating_points, config))
            notes.append(f"the operating points of the model's package {APPROXIMATE}")
    if (calibration := decisions.calibration) is not None:
        if reason := _other_score(calibration, config):
            notes.append(f"the calibration of the model's package is left out: {reason}")
        elif calibration.method == "none":
            notes.append("the calibration of the model's package leaves scores as they are: no method did better")
        else:
            recalibration = calibration.recalibration()
            notes.append(f"slope, intercept or steps of the package's calibration ({calibration.method}) {APPROXIMATE}")
    return AppliedDecisions(points, recalibration, tuple(notes))


def _other_score(file: OperatingPointsFile | CalibrationFile, config: EvaluationConfig) -> str | None:
    """Return why a file does not fit the evaluation's study score, or None."""
    if file.study_score == config.study_score:
        return None
    return f"study_score was {file.study_score} in training, and evaluation.study_score is {config.study_score}"


def _named_points(file: OperatingPointsFile, config: EvaluationConfig) -> Iterator[OperatingPoint]:
    """Yield the points, with a number behind a name that is taken."""
    taken = {point.name.strip().casefold() for point in config.operating_points}
    for point in file.points:
        name = f"{POINT_PREFIX}{point.rule}"
        name = _free_name(name, taken) if name.casefold() in taken else name
        taken.add(name.casefold())
        yield OperatingPoint(name=name, threshold=point.threshold, chosen_on=file.chosen_on)


def _free_name(name: str, taken: set[str]) -> str:
    return next(one for number in count(2) if (one := f"{name} ({number})").casefold() not in taken)
