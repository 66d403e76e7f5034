"""Where output goes: results to stdout, messages to stderr; JSON where it was asked for."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def say(message: str) -> None:
    """A message for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)


def fail(message: str) -> None:
    """What went wrong and what to do about it."""
    say(f"error: {message}")


def print_json(value: Any) -> None:
    """A result for a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_pairs(pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """A result for a person: aligned names and values."""
    rows = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def moment(time: datetime | None) -> str:
    """To the minute, in UTC."""
    return "not known" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def size(size_bytes: float) -> str:
    """A number of bytes as a person reads it, in decimal units: 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """A duration as a person reads it: 45 s, 12 min 5 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
