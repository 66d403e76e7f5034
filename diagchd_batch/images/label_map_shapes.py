"""Counts and connected pieces of label maps. The work on pixels is done without Python's interpreter lock.

Pixels that touch at a corner are connected.
"""

import numpy as np
from scipy import ndimage

SEPTUM, HEART = 1, 2

_DIAGONALS_CONNECT = np.ones((3, 3), bool)
_MAX_JUNCTIONS = 64  # with more, `ndimage.label` is faster than a loop in Python


def class_pixels(label_map_hw_u8: np.ndarray) -> tuple[int, int, int]:
    """Return the numbers of pixels of background, septum and heart.

    Args:
        label_map_hw_u8: Class numbers, uint8 [height, width]: 0 background, 1 septum, 2 heart.

    Raises:
        ValueError: The map has other values.
    """
    background = label_map_hw_u8.size - np.count_nonzero(label_map_hw_u8)
    septum = np.count_nonzero(label_map_hw_u8 == SEPTUM)
    heart = np.count_nonzero(label_map_hw_u8 == HEART)
    if background + septum + heart != label_map_hw_u8.size:
        raise ValueError(f"a label map has classes 0, 1 and 2, this one has values up to {label_map_hw_u8.max()}")
    return int(background), int(septum), int(heart)


def share_outside_largest_piece(mask_hw_bool: np.ndarray) -> float:
    """Return the share of a mask's pixels that lie outside its largest connected piece; 0 for an empty mask.

    Args:
        mask_hw_bool: The mask, bool [height, width].
    """
    box = _bounding_box(mask_hw_bool)
    if box is None:
        return 0.0
    starts, ends, stride = _runs(mask_hw_bool[box])
    if _is_one_column_of_runs(starts, ends, stride):
        return 0.0
    piece_of_run = _pieces_of_simple_runs(starts, ends, stride)
    if piece_of_run is None:
        pieces, _ = ndimage.label(mask_hw_bool[box], _DIAGONALS_CONNECT)
        piece_of_run = pieces[starts // stride, starts % stride]
    sizes = np.bincount(piece_of_run, weights=ends - starts)
    return float(1 - sizes.max() / sizes.sum())


def _bounding_box(mask_hw_bool: np.ndarray) -> tuple[slice, slice] | None:
    rows = np.flatnonzero(mask_hw_bool.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(mask_hw_bool[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _runs(mask_hw_bool: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the runs of pixels within rows: the places of their first pixels and behind their last ones, and a stride.

    Row and column of a place are its quotient and its remainder by the stride.
    """
    height, width = mask_hw_bool.shape
    padded = np.zeros(height * (width + 1) + 1, bool)
    padded[1:].reshape(height, width + 1)[:, :width] = mask_hw_bool
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2], width + 1


def _is_one_column_of_runs(starts: np.ndarray, ends: np.ndarray, stride: int) -> bool:
    """Return whether every row has one run that touches that of the next row: a common and simple case of one piece."""
    touches_next = (starts[1:] <= ends[:-1] + stride) & (ends[1:] >= starts[:-1] + stride)
    return bool((np.diff(starts // stride) == 1).all() and touches_next.all())


def _pieces_of_simple_runs(starts: np.ndarray, ends: np.ndarray, stride: int) -> np.ndarray | None:
    """Return a number for each run, the same for runs of one piece; None if the mask has too many junctions for this.

    A run whose only neighbour in the next row has it as its only neighbour in the row before belongs to a chain. Chains
    are found for all runs at once, and joined one by one where they meet.
    """
    first_below, end_below = _touching(starts + stride, ends + stride, starts, ends)
    n_below = end_below - first_below
    first_above, end_above = _touching(starts - stride, ends - stride, starts, ends)
    in_chain = end_above - first_above == 1
    in_chain[in_chain] = n_below[first_above[in_chain]] == 1
    head = np.where(in_chain, first_above, np.arange(len(starts)))
    while not np.array_equal(further := head[head], head):
        head = further
    below_in_chain = np.zeros(len(starts), bool)
    below_in_chain[first_above[in_chain]] = True
    junctions = np.flatnonzero((n_below > 0) & ~below_in_chain)
    if n_below[junctions].sum() > _MAX_JUNCTIONS:
        return None
    joined: dict[int, int] = {}

    def root(chain: int) -> int:
        while chain in joined:
            chain = joined[chain]
        return chain

    for run in junctions.tolist():
        for below in range(first_below[run], end_below[run]):
            one, other = root(int(head[run])), root(int(head[below]))
            if one != other:
                joined[other] = one
    for chain in joined:
        head[head == chain] = root(chain)
    return head


def _touching(
    wanted_starts: np.ndarray, wanted_ends: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each wanted run the range of runs that overlap it or touch it at a corner."""
    return np.searchsorted(ends, wanted_starts), np.searchsorted(starts, wanted_ends, side="right")
