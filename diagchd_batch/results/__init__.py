"""The tables of an output: written, committed, read back, verified. `open_output` is the entry point for notebooks."""

from diagchd_batch.results.output import open_output

__all__ = ["open_output"]
