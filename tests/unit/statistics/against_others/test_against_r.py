"""Figures that R prints. The call that was run stands beside each of them.

The calls ran in R 4.2.2 with irrCAC 1.0, pROC 1.18.0, epiR 2.0.57, psych 2.2.9 and metafor 3.8-1.
"""

import numpy as np
import pytest

from diagchd_batch.statistics.agreement.krippendorff import Level, krippendorff_alpha

NAN = float("nan")

#: Krippendorff (2011), as in test_published_numbers: k is units × observers.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


@pytest.mark.parametrize(
    ("level", "value", "se"),
    [
        ("nominal", 0.74342, 0.14557),  # irrCAC::krippen.alpha.raw(k)$est
        ("interval", 0.84911, 0.12913),  # irrCAC::krippen.alpha.raw(k, weights = "quadratic")$est
        ("ratio", 0.79740, 0.14048),  # irrCAC::krippen.alpha.raw(k, weights = "ratio")$est
    ],
)
def test_the_standard_error_of_alpha(level: Level, value: float, se: float) -> None:
    estimate = krippendorff_alpha(OBSERVERS, level, resamples=50)
    assert (estimate.value, estimate.se) == pytest.approx((value, se), abs=6e-6)


def test_the_standard_error_of_alpha_of_six_raters() -> None:
    """Fleiss (1971): irrCAC::krippen.alpha.raw(diagnoses)$est."""
    from statsmodels.stats.tests.test_inter_rater import diagnoses

    estimate = krippendorff_alpha(diagnoses, resamples=50)
    assert (estimate.value, estimate.se) == pytest.approx((0.43341, 0.0542), abs=6e-6)
