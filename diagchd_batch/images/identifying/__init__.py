"""Finds what an image file says about a person besides its pixels, so that `privacy check` can look for it."""

from diagchd_batch.images.identifying.values import CollectedValues, IdentifyingValue, collect

__all__ = ["CollectedValues", "IdentifyingValue", "collect"]
