"""The headline says how frames make a study's score."""

import pytest

from diagchd_batch.report.sections.headline import _score


@pytest.mark.parametrize(
    "row, sentence",
    [
        (
            {"study_score": "max", "image_score": "mean", "top_k": None},
            "Its score is the maximum of its images' scores. An image's score is the mean of its frames' probabilities "
            "of CHD.",
        ),
        (
            {"study_score": "mean", "image_score": "top_k", "top_k": 5},
            "Its score is the mean of its images' scores. An image's score is the mean of the 5 highest of its frames' "
            "probabilities of CHD.",
        ),
        (
            {"study_score": "median", "image_score": None, "top_k": None},
            "Its score is the median of its frames' probabilities of CHD.",
        ),
        ({"study_score": "mean"}, "Its score is the mean of its frames' probabilities of CHD."),
    ],
)
def test_definition_in_a_sentence(row: dict[str, object], sentence: str) -> None:
    assert _score(row) == sentence
