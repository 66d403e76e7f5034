"""The numeric covariates: those that every job may use, and those that a job file declares.

A column of numbers can be a hospital number or a date as well as a measurement. Only measurements get means and
quartiles, because a quartile is the number of a single study.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diagchd_batch.config.job_file import NumericCovariate


@dataclass(frozen=True)
class Measurement:
    """A numeric covariate.

    Attributes:
        unit: Its unit, as tables show it.
        round_to: Numbers are rounded to a multiple of this.
        lowest: The lowest plausible number.
        highest: The highest plausible number. A column with a number beyond is no such measurement.
    """

    unit: str
    round_to: float
    lowest: float = -np.inf
    highest: float = np.inf

    def fits(self, numbers: np.ndarray) -> bool:
        """Return whether all numbers are plausible.

        Args:
            numbers: float64, without NaN.
        """
        return bool(((numbers >= self.lowest) & (numbers <= self.highest)).all())

    def rounded(self, numbers: np.ndarray) -> np.ndarray:
        """Round numbers to multiples of `round_to`.

        Args:
            numbers: float64. NaN stays NaN.
        """
        # The second rounding removes the last bits, which would show as 0.30000000000000004.
        return np.round(np.round(numbers / self.round_to) * self.round_to, 9)


_AGE = Measurement("years", 1, 10, 70)
_BODY_MASS_INDEX = Measurement("kg/m²", 0.1, 10, 90)

KNOWN: Mapping[str, Measurement] = {
    "gestational_age_days": Measurement("days", 1, 0, 330),
    "maternal_age": _AGE,
    "maternal_age_years": _AGE,
    "bmi": _BODY_MASS_INDEX,
    "maternal_bmi": _BODY_MASS_INDEX,
    "maternal_height_cm": Measurement("cm", 1, 100, 230),
    "maternal_weight_kg": Measurement("kg", 1, 25, 350),
    "parity": Measurement("births", 1, 0, 25),
    "gravidity": Measurement("pregnancies", 1, 0, 30),
    "plurality": Measurement("fetuses", 1, 1, 9),
    "estimated_fetal_weight_g": Measurement("g", 10, 0, 7_000),
    "fetal_heart_rate_bpm": Measurement("beats/min", 1, 20, 350),
    "nuchal_translucency_mm": Measurement("mm", 0.1, 0, 30),
}
"""The columns of the covariates table that are measurements without a declaration."""

SOURCE_RESOLUTION = Measurement("pixels", 1)
NUMBER_OF_IMAGES = Measurement("images", 1)


def measurement_of(name: str, numbers: np.ndarray, declared: Mapping[str, NumericCovariate]) -> Measurement | None:
    """Return what a column of numbers measures, or None if that is not known.

    Args:
        name: The column's own name.
        numbers: float64, its numbers without NaN.
        declared: The job file's `evaluation.numeric_covariates`.
    """
    if name in declared:
        return Measurement(declared[name].unit, declared[name].round_to)
    known = KNOWN.get(name.casefold())
    return known if known is not None and known.fits(numbers) else None
