"""Which ids a new run may get: only those that every engine reads as text.

A run's directory is named after its id. Most engines guess the type of such a name: `007` becomes 7, `2026-11-27` a
date, `1e5` a float and `null` no value. Statements that look for the id as text then find nothing.
"""

import re

from diagchd_batch.errors import UsageError

_GENERATED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9]+")
"""An id that the program makes. Tests hold that no engine takes it for anything but text."""

_MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|"
    "dec(ember)?)"
)
_UNIT = "(ns|us|ms|s|secs?|m|mins?|h|hrs?|hours?|d|days?|w|weeks?|am|pm)"

_READS_AS = {
    "a missing value": r"null|none|nil|na|nan|nat|n-a|undefined|missing",
    "a boolean": r"true|false|t|f|yes|no|y|n|on|off",
    "a number": r"[0-9][0-9_]*([.][0-9_]*)?(e-?[0-9]+)?[dfln]?|0[xob][0-9a-f._]+(p-?[0-9]+)?|inf|infinity",
    "a date or a time": "|".join(
        (
            r"now|today|tomorrow|yesterday|epoch",
            r"[0-9]+([-._][0-9]+)+z?",
            r"([0-9]+([-._][0-9]+)*)?t[0-9][0-9._-]*(z|utc)?",
            r"[0-9]{2,4}[-._]?[wq][0-9]{1,2}(-[0-9])?",
            rf"([0-9]+[-._]?)?{_MONTH}([-._]?[0-9]+)*",
            rf"([0-9][0-9.]*{_UNIT})+[0-9]*",
        )
    ),
}


def check_new_run_id(run_id: str) -> str:
    """Return the id of a run that is about to be made.

    An existing run keeps its id, whatever it is. This package reads every id as text.

    Args:
        run_id: A run id (`output_layout.check_run_id`).

    Raises:
        UsageError: Some engine reads it as a number, a boolean, a date or a missing value.
    """
    if _GENERATED.fullmatch(run_id):
        return run_id
    for kind, pattern in _READS_AS.items():
        if re.fullmatch(pattern, run_id, re.IGNORECASE | re.ASCII):
            raise UsageError(
                f"--run-id {run_id}: programs that query the tables read this id as {kind}; begin it with a word, for "
                f"example --run-id run-{run_id[:76]}"
            )
    return run_id
