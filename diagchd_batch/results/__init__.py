"""Tables of an output: written, committed, read back, verified. `open_output` is the way in for notebooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagchd_batch.results.output import open_output

__all__ = ["open_output"]


def __getattr__(name: str) -> Any:
    # Deferred, because the key layout beside it is imported where pyarrow's datasets are not wanted.
    if name == "open_output":
        from diagchd_batch.results.output import open_output

        return open_output
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
