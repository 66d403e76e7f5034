"""Several readers of the same cases: inference about readers in general, and about these readers as a group."""

from diagchd_batch.statistics.multireader.random_readers import obuchowski_rockette

__all__ = ["obuchowski_rockette"]
