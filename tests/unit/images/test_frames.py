"""The frames that each rule chooses."""

import itertools

import pytest

from diagchd_batch.config.job_file import FrameSpacing, InputConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.images.frames import chosen_frames


@pytest.mark.parametrize(
    "rule, n_frames, expected",
    [
        ("all", 4, (0, 1, 2, 3)),
        ("first", 4, (0,)),
        ("middle", 4, (2,)),
        ("middle", 5, (2,)),
        ("every 1", 3, (0, 1, 2)),
        ("every 4", 10, (0, 4, 8)),
        ("every 4", 4, (0,)),
        ("every 100", 10, (0,)),
        ("max 1", 4, (2,)),
        ("max 1", 5, (2,)),
        ("max 2", 8, (2, 6)),
        ("max 3", 10, (1, 5, 8)),  # the middles of ten thirds: 1.67, 5, 8.33
        ("max 3", 3, (0, 1, 2)),
        ("max 100", 3, (0, 1, 2)),
        ("max 9", 1, (0,)),
    ],
)
def test_rules(rule: str, n_frames: int, expected: tuple[int, ...]) -> None:
    assert chosen_frames(rule, None, n_frames) == expected


def test_an_even_spread_has_no_frame_twice_and_gaps_that_differ_by_one_at_most() -> None:
    for n_frames in range(1, 130):
        for n in range(1, 40):
            frames = chosen_frames(f"max {n}", None, n_frames)
            assert len(frames) == min(n, n_frames)
            assert frames[0] >= 0 and frames[-1] < n_frames
            gaps = {after - before for before, after in itertools.pairwise(frames)}
            assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1), (n, n_frames, frames)


@pytest.mark.parametrize("rule", ["all", "first", "every 2", "max 1"])
def test_the_manifest_takes_precedence(rule: str) -> None:
    assert chosen_frames(rule, (7, 2, 7), 5) == (2, 7)


@pytest.mark.parametrize("rule", ["", "every", "every 0", "max -1", "every 2 ", "max: 2", "last"])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="does not know"):
        chosen_frames(rule, None, 5)


@pytest.mark.parametrize(
    "frames, rule",
    [
        ("all", "all"),
        ("first", "first"),
        ("middle", "middle"),
        (FrameSpacing(every=3), "every 3"),
        (FrameSpacing(max=2), "max 2"),
    ],
)
def test_what_the_job_file_says_is_a_rule(frames: str | FrameSpacing, rule: str) -> None:
    config = InputConfig(uri="archive", layout="tree", frames=frames)
    assert config.frame_rule == rule
    assert chosen_frames(config.frame_rule, None, 6)
