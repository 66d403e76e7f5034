"""How long storage is waited for where waiting must not take as long as work may."""

SHORT_TIMEOUT_S = 20.0
"""Timeout of storage for watching a run, for signs of life and for the last words of a run that ends."""


def short_timeout_s(object_timeout_s: float) -> float:
    """Return SHORT_TIMEOUT_S, or `object_timeout_s` (seconds) where work itself waits no longer than that."""
    return min(SHORT_TIMEOUT_S, object_timeout_s)
