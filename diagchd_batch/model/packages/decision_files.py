"""What a trained package says about decisions: `operating_points.json` and `calibration.json`.

Both belong to the evaluation. They change no score, so they are not part of a run's fingerprint.
"""

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.packages.package import ModelPackage

if TYPE_CHECKING:
    from diagchd_batch.statistics.recalibration import Recalibration

OPERATING_POINTS = "operating_points.json"
CALIBRATION = "calibration.json"
"""Names of the files in a package."""

CHOSEN_ON = "out-of-fold predictions"
"""`chosen_on` of a package's operating points in tables."""

_Share = Annotated[float, Field(ge=0, le=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Score = Literal["mean", "max", "median"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PackagePoint(_Section):
    """A threshold of the package."""

    name: str = Field(min_length=1, max_length=100)
    rule: str = Field(description="how it was chosen: 'sensitivity >= 0.95', 'youden', …")
    threshold: _Share = Field(description="on the uncalibrated score of a study")
    sensitivity: _Share | None = Field(
        description="on folds that the threshold was not chosen on; null where too few studies would show through"
    )
    specificity: _Share | None = Field(description="likewise")


class OperatingPointsFile(_Section):
    """The contents of an `operating_points.json`."""

    format: Literal["operating-points/1"] = "operating-points/1"
    chosen_on: str = Field(description="the data, in words")
    study_score: _Score = Field(description="how the images' probabilities became a study's score")
    note: str
    points: list[PackagePoint]


class MeasuredMethod(_Section):
    """What a method reached on folds that it was not fitted on."""

    method: Literal["none", "temperature", "platt", "isotonic"]
    log_loss: _Finite
    brier: _Finite
    expected_calibration_error: _Finite


class CalibrationFile(_Section):
    """The contents of a `calibration.json`."""

    format: Literal["calibration/1"] = "calibration/1"
    method: Literal["none", "temperature", "platt", "isotonic"]
    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    intercept: _Finite = 0.0
    scores: list[_Share] = Field(default=[], description="isotonic: increasing mean scores of groups of studies")
    values: list[_Share] = Field(default=[], description="isotonic: the calibrated probability of each group")
    study_score: _Score = Field(description="how the images' probabilities became the score that is calibrated")
    note: str
    measured: list[MeasuredMethod] = Field(description="out of fold: each method was fitted on the other folds")

    @model_validator(mode="after")
    def _is_a_map(self) -> "CalibrationFile":
        if len(self.scores) != len(self.values) or (self.method == "isotonic") != bool(self.scores):
            raise ValueError("isotonic calibration needs scores and as many values, and other methods have none")
        if sorted(self.scores) != self.scores or sorted(self.values) != self.values:
            raise ValueError("scores and values of isotonic calibration must not decrease")
        return self

    def recalibration(self) -> "Recalibration":
        """Return the map that the file describes."""
        from diagchd_batch.statistics.recalibration import Recalibration  # loads scikit-learn

        return Recalibration(self.method, self.slope, self.intercept, tuple(self.scores), tuple(self.values))


class PackageDecisions(_Section):
    """Both files of a package, as a run's record holds them. Digests are SHA-256 of the files' bytes."""

    operating_points: OperatingPointsFile | None = None
    operating_points_sha256: str | None = None
    calibration: CalibrationFile | None = None
    calibration_sha256: str | None = None


_File = TypeVar("_File", OperatingPointsFile, CalibrationFile)


def read_decisions(package: ModelPackage) -> PackageDecisions | None:
    """Return a package's operating points and calibration, or None if it has neither.

    Raises:
        ConfigError: A file is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    points, points_sha256 = _read(package, OPERATING_POINTS, OperatingPointsFile)
    calibration, calibration_sha256 = _read(package, CALIBRATION, CalibrationFile)
    if points is None and calibration is None:
        return None
    return PackageDecisions(
        operating_points=points,
        operating_points_sha256=points_sha256,
        calibration=calibration,
        calibration_sha256=calibration_sha256,
    )


def read_operating_points(package: ModelPackage) -> OperatingPointsFile | None:
    """Return a package's operating points, or None if it has none.

    Raises:
        ConfigError: The file is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    return _read(package, OPERATING_POINTS, OperatingPointsFile)[0]


def read_calibration(package: ModelPackage) -> CalibrationFile | None:
    """Return a package's calibration, or None if it has none.

    Raises:
        ConfigError: The file is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    return _read(package, CALIBRATION, CalibrationFile)[0]


def _read(package: ModelPackage, name: str, kind: type[_File]) -> tuple[_File | None, str | None]:
    """Return the file's contents and the SHA-256 of its bytes; two times None if the package does not have it."""
    data = package.read_optional(name)
    if data is None:
        return None, None
    try:
        return kind.model_validate_json(data), hashlib.sha256(data).hexdigest()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(
            f"{name} of model {package.location} is damaged: {where or 'the file'}: {problem['msg']}; restore it"
        ) from error
