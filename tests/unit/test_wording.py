"""Counted nouns in messages."""

import pytest

from diagchd_batch.wording import counted


@pytest.mark.parametrize(
    ("n", "noun", "adjective", "text"),
    [
        (1, "frame", "", "1 frame"),
        (0, "frame", "", "0 frames"),
        (1, "study", "", "1 study"),
        (2, "study", "", "2 studies"),
        (1234, "image", "planned", "1,234 planned images"),
        (0.5, "GPU", "", "0.5 GPUs"),
        (None, "study", "", "– studies"),
    ],
)
def test_one_is_singular(n: float | None, noun: str, adjective: str, text: str) -> None:
    assert counted(n, noun, adjective) == text
