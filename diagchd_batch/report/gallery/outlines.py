"""Traces outlines of masks as vector paths in the pixels of the source image."""

import numpy as np


def outline_path(mask_hw_bool: np.ndarray, height: int, width: int) -> str:
    """Return the outline of a mask as an SVG path.

    Every step of the grid is drawn. The area beyond the image counts as background.

    Args:
        mask_hw_bool: The mask at the model's grid. Cell (row, column) covers the source's pixels from
            row·height/rows and column·width/columns on, where the nearest-neighbour resize samples.
        height: Height of the source frame in pixels.
        width: Width of the source frame in pixels.

    Returns:
        The path in source pixels. It is empty for an empty mask.
    """
    rows, columns = mask_hw_bool.shape
    padded = np.pad(mask_hw_bool, 1).astype(np.int8)
    across = np.diff(padded, axis=0)[:, 1:-1] != 0  # [rows + 1, columns]: an edge above cell (row, column)
    down = np.diff(padded, axis=1)[1:-1, :] != 0  # [rows, columns + 1]: an edge left of it
    y, x = height / rows, width / columns
    parts = [f"M{_n(start * x)} {_n(row * y)}H{_n(end * x)}" for row, start, end in _runs(across)]
    parts += [f"M{_n(column * x)} {_n(start * y)}V{_n(end * y)}" for column, start, end in _runs(down.T)]
    return "".join(parts)


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (line, start, end) of every unbroken run of True along the second axis."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return [(int(line), int(start), int(end)) for line, start, end in zip(lines, starts, ends, strict=True)]


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
