"""The choice of the frames of a file that are scored."""

import re

from diagchd_batch.errors import UsageError

FrameRule = str
"""``all``, ``first``, ``middle``, ``every N`` or ``max N``. Plans, records and fingerprints hold it in this form, and
`InputConfig.frame_rule` makes it."""

_COUNTED_RULE = re.compile(r"(every|max) ([1-9][0-9]{0,18})")


def chosen_frames(rule: FrameRule, frames: tuple[int, ...] | None, n_frames: int) -> tuple[int, ...]:
    """Return the frames of one file that are scored.

    Args:
        rule: The rule of the run. ``all`` chooses every frame, ``first`` the first one, and ``middle`` the middle one;
            of an even number of frames it takes the later of the two in the middle. ``every N`` chooses the frames 0,
            N, 2N and so on. ``max N`` cuts a file with more than N frames into N parts of equal length and takes the
            middle frame of each: frame floor((2i + 1) · n_frames / 2N) for i from 0 to N − 1. So ``max 1`` is
            ``middle``, and the first and last moments of a clip, which often show a moving probe, are not preferred.
        frames: Frame indices that the manifest names for this file; None if it names none. They take precedence over
            the rule, and they are returned even if the file does not have them (`frame_not_found`).
        n_frames: Number of frames in the file.

    Returns:
        Frame indices counted from 0, in ascending order and without repetition.

    Raises:
        UsageError: This version of the program does not know the rule.
    """
    if frames is not None:
        return tuple(sorted(set(frames)))
    if rule == "first":
        return (0,)
    if rule == "middle":
        return (n_frames // 2,)
    if rule == "all":
        return tuple(range(n_frames))
    if (match := _COUNTED_RULE.fullmatch(rule)) is None:
        raise UsageError(f"the rule for frames is {rule!r}, which this version does not know; use the latest version")
    n = int(match[2])
    if match[1] == "every":
        return tuple(range(0, n_frames, n))
    if n >= n_frames:
        return tuple(range(n_frames))
    return tuple((2 * part + 1) * n_frames // (2 * n) for part in range(n))


def n_chosen_frames(rule: FrameRule, n_frames: int) -> int:
    """Return how many frames of one file a rule chooses, without making a list of them.

    Args:
        rule: The rule of the run; see `chosen_frames`.
        n_frames: Number of frames in the file, at least 1.

    Raises:
        UsageError: This version of the program does not know the rule.
    """
    match = _COUNTED_RULE.fullmatch(rule)
    if match is None:
        return n_frames if rule == "all" else len(chosen_frames(rule, None, n_frames))
    n = int(match[2])
    return -(-n_frames // n) if match[1] == "every" else min(n, n_frames)


MAX_CHOSEN_SHARE = 0.5
"""A loop of a PACS of which a larger share of the frames is chosen is read whole: one request instead of two."""


def takes_two_requests(rule: FrameRule, n_frames: int) -> bool:
    """Return whether a PACS is asked twice for a file: for its header and for the chosen frames.

    Args:
        rule: The rule of the run; see `chosen_frames`.
        n_frames: Number of frames in the file.

    Raises:
        UsageError: This version of the program does not know the rule.
    """
    return rule != "all" and n_chosen_frames(rule, n_frames) <= MAX_CHOSEN_SHARE * n_frames
