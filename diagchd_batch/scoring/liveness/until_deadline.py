"""Parses `--until`: a time of day, an instant or a duration."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from diagchd_batch.errors import UsageError
from diagchd_batch.wording import shortened

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def parse_deadline(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Return the instant, in UTC, that a deadline means.

    Args:
        text: A time of day (``06:00``, when clocks next show it, or an hour later if the change to summer time skips
            it), an instant with its offset (``2026-11-24T06:00+01:00``, which may have passed) or a duration from now
            (``7h30m``).
        now: The present instant.
        zone: The time zone of a time of day; None for this machine's.

    Raises:
        UsageError: The text is none of these.
    """
    try:
        if clock := _CLOCK.fullmatch(text):
            return _next(time(int(clock[1]), int(clock[2])), now, zone)
        if duration := _DURATION.fullmatch(text):
            hours, minutes, seconds = (int(number or 0) for number in duration.groups())
            return now.astimezone(UTC) + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"--until {shortened(text, 60)!r}: give a time of day (06:00), an instant with its offset "
        "(2026-11-24T06:00+01:00) or a duration (7h30m)"
    )


def _next(clock: time, now: datetime, zone: tzinfo | None) -> datetime:
    today = now.astimezone(zone).date()
    return min(
        instant
        for days in range(3)
        for instant in _instants(datetime.combine(today + timedelta(days=days), clock), zone)
        if instant > now
    )


def _instants(wall: datetime, zone: tzinfo | None) -> list[datetime]:
    """Return when clocks show `wall`: once, twice if they are set back, or, if they skip it, when they would have."""
    instants = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [instant for instant in instants if instant.astimezone(zone).replace(tzinfo=None, fold=0) == wall]
    return shown or instants[:1]
