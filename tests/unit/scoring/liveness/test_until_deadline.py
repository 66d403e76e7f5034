"""The deadlines that `--until` accepts."""

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.errors import UsageError
from diagchd_batch.scoring.liveness.until_deadline import parse_deadline

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(*moment: int, fold: int = 0) -> datetime:
    return datetime(*moment, tzinfo=BERLIN, fold=fold)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("now", "text", "deadline"),
    [
        (berlin(2026, 11, 23, 20, 0), "06:00", "2026-11-24T06:00+01:00"),
        (berlin(2026, 11, 24, 5, 59), "06:00", "2026-11-24T06:00+01:00"),
        (berlin(2026, 11, 24, 6, 0), "06:00", "2026-11-25T06:00+01:00"),
        (berlin(2026, 12, 31, 23, 0), "6:00", "2027-01-01T06:00+01:00"),
        (berlin(2026, 3, 28, 20, 0), "06:00", "2026-03-29T06:00+02:00"),  # a night of nine hours
        (berlin(2026, 10, 24, 20, 0), "06:00", "2026-10-25T06:00+01:00"),  # a night of eleven hours
        (berlin(2026, 3, 28, 20, 0), "02:30", "2026-03-29T03:30+02:00"),  # Clocks skip this time.
        (berlin(2026, 10, 24, 20, 0), "02:30", "2026-10-25T02:30+02:00"),  # It is the first of two such times.
        (berlin(2026, 10, 25, 2, 40), "02:30", "2026-10-25T02:30+01:00"),  # It is the second, as the first is over.
        (berlin(2026, 10, 25, 2, 40, fold=1), "02:30", "2026-10-26T02:30+01:00"),
    ],
)
def test_a_time_of_day_is_the_next_that_clocks_show(now: datetime, text: str, deadline: str) -> None:
    assert parse_deadline(text, now, BERLIN) == datetime.fromisoformat(deadline)


@pytest.mark.parametrize(
    ("text", "deadline"),
    [
        ("2026-11-24T06:00+01:00", datetime(2026, 11, 24, 5, tzinfo=UTC)),
        ("2026-11-24T06:00:00Z", datetime(2026, 11, 24, 6, tzinfo=UTC)),
        ("1999-01-01T00:00+00:00", datetime(1999, 1, 1, tzinfo=UTC)),  # It has passed, so the run stops at once.
        ("7h30m", datetime(2026, 11, 24, 4, 0, tzinfo=UTC)),
        ("90m", datetime(2026, 11, 23, 22, 0, tzinfo=UTC)),
        ("0s", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
    ],
)
def test_instants_and_durations(text: str, deadline: datetime) -> None:
    assert parse_deadline(text, datetime(2026, 11, 23, 20, 30, tzinfo=UTC)) == deadline


@pytest.mark.parametrize(
    "text",
    ["", "6", "24:00", "06:60", "six", "-1h", "1h1h", "30m7h", "2026-11-24T06:00", "9" * 5000 + "h", "9999999999h"],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="7h30m"):
        parse_deadline(text, datetime(2026, 11, 23, 20, 30, tzinfo=UTC))


instants = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])


@given(instants, st.times(), zones)
def test_a_time_of_day_lies_ahead_within_a_day_and_is_what_clocks_show(
    now: datetime, clock: time, zone_name: str
) -> None:
    zone = ZoneInfo(zone_name)
    deadline = parse_deadline(f"{clock:%H:%M}", now, zone)
    # The limit is one day, plus a change of clocks and the time that it skips.
    assert timedelta(0) < deadline - now <= timedelta(hours=26)
    wanted = (clock.hour, clock.minute)
    shown = deadline.astimezone(zone)
    if (shown.hour, shown.minute) != wanted:  # No clock shows the time on that day.
        hours = [(deadline - timedelta(minutes=minutes)).astimezone(zone) for minutes in range(-180, 181)]
        assert wanted not in [(moment.hour, moment.minute) for moment in hours]


@given(st.text(max_size=12))
def test_any_text_gives_an_instant_or_a_message(text: str) -> None:
    with suppress(UsageError):
        assert parse_deadline(text, datetime(2026, 11, 23, 20, 30, tzinfo=UTC)).utcoffset() == timedelta(0)


@given(instants, st.integers(0, 99), st.integers(0, 99))
def test_durations_count_from_now(now: datetime, hours: int, minutes: int) -> None:
    assert parse_deadline(f"{hours}h{minutes}m", now) == now + timedelta(hours=hours, minutes=minutes)
