"""What `--until` means: a time of day, an instant or a duration, made an instant."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from diagchd_batch.errors import UsageError

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def parse_deadline(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The instant, in UTC, that `text` means at the instant `now`.

    ``06:00`` is when clocks in `zone` (None: this machine's) next show it; where a change to summer time skips it, an
    hour later. ``2026-11-24T06:00+01:00`` needs its offset, and may have passed. ``7h30m`` counts from `now`. Raises
    UsageError for anything else.
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
        f"--until {text!r}: give a time of day (06:00), an instant with its offset (2026-11-24T06:00+01:00) or a "
        "duration (7h30m)"
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
    """When clocks show `wall`: once, twice where they are set back, or, where they skip it, when they would have."""
    instants = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [instant for instant in instants if instant.astimezone(zone).replace(tzinfo=None, fold=0) == wall]
    return shown or instants[:1]
