"""Gives each thing that is drawn an independent random generator, keyed by what it is."""

from enum import IntEnum

import numpy as np


class Split(IntEnum):
    """The purpose of a cohort. Its number is part of every seed, so two splits never share a stream."""

    TRAINING = 1
    VALIDATION = 2
    GATE = 3
    SAMPLE = 4
    OTHER = 5


class Stream(IntEnum):
    """What is drawn. Each kind has a stream of its own, so that adding one never shifts another."""

    BLOCK = 1
    SUBJECT = 2
    FETUS = 3
    STUDY = 4
    IMAGE = 5
    SPECKLE = 6
    READS = 7


_WORDS = 6
_LIMIT = 2**32


def generator(seed: int, split: Split, stream: Stream, *indices: int) -> np.random.Generator:
    """Return the generator of one thing. Equal keys give equal numbers, whatever else is drawn and in any process.

    Args:
        seed: Seed of the cohort, in [0, 2**32).
        split: Purpose of the cohort.
        stream: What is drawn.
        indices: At most three numbers in [0, 2**32), such as the index of the study.

    Raises:
        ValueError: The seed or an index is out of range, or there are more than three indices.
    """
    words = (seed, int(split), int(stream), *indices)
    if len(words) > _WORDS or not all(0 <= word < _LIMIT for word in words):
        raise ValueError(
            f"seed and at most {_WORDS - 3} indices must lie in [0, 2**32), got {words}; choose smaller ones"
        )
    # Missing indices count as 0. Keys still never coincide, because each stream has a fixed number of indices.
    return np.random.default_rng(np.random.SeedSequence(words + (0,) * (_WORDS - len(words))))
