"""Prints results to stdout and messages to stderr, escaped, and formats values for people."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Never

from diagchd_batch.escaping import for_console, for_line, json_for_console


class ConsoleParser(argparse.ArgumentParser):
    """A parser of a command line that escapes what its errors repeat of it."""

    def error(self, message: str) -> Never:
        """See `argparse.ArgumentParser.error`."""
        super().error(for_console(message))


def say(message: str) -> None:
    """Print a message for the person at the terminal to stderr."""
    print(for_console(message), file=sys.stderr, flush=True)


def print_text(text: str = "", *, end: str = "\n") -> None:
    """Print a result for a person to stdout.

    Args:
        text: The text.
        end: What is printed after it.
    """
    print(for_console(text), end=end)


def fail(message: str) -> None:
    """Print what is wrong, with which input, and what to do, to stderr."""
    say(f"error: {message}")


def print_json(value: Any) -> None:
    """Print a result for a program to stdout."""
    print(json_for_console(value, indent=2, default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_pairs(pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """Print a result for a person to stdout: names and values in two aligned columns."""
    rows = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print_text(f"{name:<{width}}  {for_line(str(value))}")


def moment(time: datetime | None) -> str:
    """Return a point in time to the minute, in UTC."""
    return "not known" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def size(size_bytes: float) -> str:
    """Return a number of bytes in decimal units, such as 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Return a duration in one or two units, such as 45 s, 12 min 5 s or 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
