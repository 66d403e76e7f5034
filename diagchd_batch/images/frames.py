"""The choice of the frames of a file that are scored."""

from typing import Literal

FrameRule = Literal["all", "first", "middle"]


def chosen_frames(rule: FrameRule, frames: tuple[int, ...] | None, n_frames: int) -> tuple[int, ...]:
    """Return the frames of one file that are scored.

    Args:
        rule: The rule of the run: all frames, the first or the middle one. Of an even number of frames, the later of
            the two in the middle is taken.
        frames: Frame indices that the manifest names for this file; None if it names none. They take precedence over
            the rule, and they are returned even if the file does not have them (`frame_not_found`).
        n_frames: Number of frames in the file.

    Returns:
        Frame indices counted from 0, in ascending order and without repetition.
    """
    if frames is not None:
        return tuple(sorted(set(frames)))
    if rule == "all":
        return tuple(range(n_frames))
    return (0,) if rule == "first" else (n_frames // 2,)
