"""Random streams: one independent generator for each thing that is drawn, keyed by what it is."""

from enum import IntEnum

import numpy as np


class Split(IntEnum):
    """What a cohort is for. The code is part of every seed, so no two splits ever share a stream."""

    TRAINING = 1
    VALIDATION = 2
    GATE = 3
    SAMPLE = 4
    OTHER = 5


class Stream(IntEnum):
    """What is drawn. Images and readers use streams of their own, so that adding one never shifts another."""

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
    """The generator of one thing; equal keys give equal numbers, whatever else is drawn and in which process.

    ``seed`` and ``indices`` (at most three) lie in [0, 2**32). The key always has the same number of words, because
    SeedSequence pads short keys with zeros, which would make (1, 2) and (1, 2, 0) one stream.
    """
    words = (seed, int(split), int(stream), *indices)
    if len(words) > _WORDS or not all(0 <= word < _LIMIT for word in words):
        raise ValueError(
            f"seed and at most {_WORDS - 3} indices must lie in [0, 2**32), got {words}; choose smaller ones"
        )
    return np.random.default_rng(np.random.SeedSequence(words + (0,) * (_WORDS - len(words))))
