"""Training images, decoded once to the model's grid and kept in the private tree for all folds and runs."""

from diagchd_batch.training.image_cache.build_cache import build_cache
from diagchd_batch.training.image_cache.cached_part import CacheSettings
from diagchd_batch.training.image_cache.open_cache import ImageCache, open_cache

__all__ = ["CacheSettings", "ImageCache", "build_cache", "open_cache"]
