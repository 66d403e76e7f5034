"""Finds the ultrasound image in the picture of a scanner's screen.

Ultrasound is speckled nearly everywhere, and a screen around it is not: backgrounds, frames and panels are flat, while
text, rulers and colour bars are thin. The picture is divided into square cells, and those whose grey values vary are
textured. Thin textured parts are dropped, gaps such as fluid are closed, and the largest connected part is the
ultrasound image. Dark tissue varies little, so the part is then extended by connected cells of weaker texture.

The method is a heuristic without knowledge of any scanner. A part that it misses is one that is black to the eye. A
change of it changes scores: raise `scoring.scoring_version`.
"""

import numpy as np
from scipy import ndimage

from diagchd_batch.images.regions.frame_region import Box

_CELLS = 192
"""Cells along the longer side of a picture."""
_SMALLEST_CELL_PX = 2
_STRONG_TEXTURE, _WEAK_TEXTURE = 2.0, 0.8
"""Standard deviation of the grey values in a cell, in steps of 8-bit grey."""
_THIN = 0.045
"""What is thinner than this share of the longer side is text, a ruler or a colour bar."""
_DENSE = 0.8
"""Share of the cells of a square, as wide as `_THIN`, that are textured in ultrasound. Lines of text have gaps."""
_GAP = 0.06
"""Gaps narrower than this share of the longer side are closed."""
_LEAST_SIDE_PX = 32
_LEAST_AREA = 0.05
"""Share of the picture that an ultrasound image takes at least."""
_FULL_BLEED = 0.97
"""A part with this share of the picture's height and width is the whole picture."""


def find_sector(image_hwc_u8: np.ndarray) -> Box | None:
    """Return the smallest upright rectangle around the ultrasound image in a picture.

    Args:
        image_hwc_u8: uint8 [height, width, 3], red, green and blue.

    Returns:
        Top, left, height and width in pixels. None if nothing was found, or if the ultrasound image fills the picture.
    """
    grey = image_hwc_u8.max(axis=2)
    cell_px = max(_SMALLEST_CELL_PX, round(max(grey.shape) / _CELLS))
    texture = _texture(grey, cell_px)
    strong = _largest_piece(_solid_parts(texture >= _STRONG_TEXTURE))
    if np.count_nonzero(strong) < _LEAST_AREA * strong.size:
        return None
    pieces, _ = ndimage.label(_solid_parts(texture >= _WEAK_TEXTURE) | strong)
    found = pieces == pieces[strong][0]
    top, height = _extent(found.any(axis=1), cell_px, grey.shape[0])
    left, width = _extent(found.any(axis=0), cell_px, grey.shape[1])
    is_whole = height >= _FULL_BLEED * grey.shape[0] and width >= _FULL_BLEED * grey.shape[1]
    if is_whole or min(height, width) < _LEAST_SIDE_PX:
        return None
    return top, left, height, width


def _texture(grey: np.ndarray, cell_px: int) -> np.ndarray:
    """Return the standard deviation of the grey values in each cell. The picture is extended to whole cells."""
    extended = np.pad(grey, [(0, -length % cell_px) for length in grey.shape], mode="edge").astype(np.float32)
    rows, columns = (length // cell_px for length in extended.shape)
    return extended.reshape(rows, cell_px, columns, cell_px).std(axis=(1, 3))


def _solid_parts(textured: np.ndarray) -> np.ndarray:
    """Drop thin parts, then close gaps."""
    longest = max(textured.shape)
    thin, gap = (max(3, round(share * longest)) for share in (_THIN, _GAP))
    density = ndimage.uniform_filter(textured.astype(np.float32), thin, mode="nearest")
    thick = ndimage.maximum_filter(density >= _DENSE, thin) & _closed(textured, 3)
    return _closed(thick, gap)


def _closed(mask: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(mask, size)  # otherwise what touches the picture's border would shrink
    return ndimage.binary_closing(padded, np.ones((size, size), bool))[size:-size, size:-size]


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces, n_pieces = ndimage.label(mask)
    if not n_pieces:
        return mask
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def _extent(occupied: np.ndarray, cell_px: int, length_px: int) -> tuple[int, int]:
    """Return the start and the length, in pixels, of the cells from the first occupied one to the last."""
    cells = np.flatnonzero(occupied)
    start = int(cells[0]) * cell_px
    return start, min((int(cells[-1]) + 1) * cell_px, length_px) - start
