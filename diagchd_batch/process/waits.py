"""The log of waits for storage that does not answer. It names places, so only a command at a terminal shows it."""

import logging

WAITS_LOGGER = "diagchd_batch.waits"


def note_wait(place: str, reason: str, limit_s: float) -> None:
    """Log that storage did not answer and is asked again.

    Args:
        place: The storage.
        reason: The kind of failure.
        limit_s: Seconds for which it is asked again.
    """
    logging.getLogger(WAITS_LOGGER).info("no answer from %s (%s); it is tried for up to %.0f s", place, reason, limit_s)
