"""The version of the code that computes scores. Raise it by hand whenever a change of the code changes a score."""

SCORING_VERSION = 1
"""Part of every run's fingerprint, so that scores of two versions never mix in one run or lineage.

Raise it when decoding, resizing, the network, its post-processing, quality flags or the comparison with reference
masks give other values for the same file. Do not raise it for a new column, a new message or a faster way to the same
values: after it was raised, every archive is scored again as a whole. `tests/unit/scoring/test_scoring_version.py`
fails when scores change and this number does not; its docstring says how to record the new scores.
"""
