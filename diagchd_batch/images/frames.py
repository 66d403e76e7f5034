"""Which frames of a file are scored."""

from typing import Literal

FrameRule = Literal["all", "first", "middle"]


def chosen_frames(rule: FrameRule, frames: tuple[int, ...] | None, n_frames: int) -> tuple[int, ...]:
    """Frame numbers from 0, ascending and each once: those that the manifest asks for, else those of the run's rule.

    Frames asked for by number are returned even where the file does not have them (`frame_not_found`). The middle one
    of an even number is the later of the two.
    """
    if frames is not None:
        return tuple(sorted(set(frames)))
    if rule == "all":
        return tuple(range(n_frames))
    return (0,) if rule == "first" else (n_frames // 2,)
