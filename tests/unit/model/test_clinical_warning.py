"""A warning appears only for weights that were never trained on patients' images."""

import pytest

from diagchd_batch.model.clinical_warning import clinical_warning


@pytest.mark.parametrize(
    ("name", "weights", "simulated", "said"),
    [
        ("diagchd-compact", "bundled", False, "SIMULATED phantoms"),
        ("diagchd-compact", "bundled", True, None),
        ("diagchd-compact", "/models/own.h5", False, None),
        ("diagchd", "seed:0", False, "pseudo-random (seed:0)"),
        ("diagchd-compact", "seed:7", True, "pseudo-random (seed:7)"),
        ("diagchd", "/models/diagchd.h5", False, None),
    ],
)
def test_clinical_warning(name: str, weights: str, simulated: bool, said: str | None) -> None:
    warning = clinical_warning(name, weights, simulated_images=simulated)
    assert warning is None if said is None else said in warning
