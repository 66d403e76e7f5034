"""The one exception tree of the package.

There are two kinds of exceptions, and they are never mixed up:

* `DiagchdBatchError` is a fault of the call, the configuration or the run. It ends the command with `exit_code`. Its
  message says what is wrong, with which input, and what to do.
* `ItemError` means that one input (an image, a mask) cannot be used. It becomes a failed row with `code`, and the run
  goes on.
"""

from typing import Any

from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.wording import shown_value


class DiagchdBatchError(Exception):
    """The base class. `exit_code` is what the command ends with."""

    exit_code = ExitCode.FAILED


class UsageError(DiagchdBatchError):
    """The caller asked for something impossible, such as an unknown run or options that exclude each other."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A job file, an override or an environment variable is invalid."""


class InputError(UsageError):
    """An inventory, manifest, reference, readers or covariates file cannot be used as it is."""


class WeightsError(UsageError):
    """A checkpoint cannot be read or does not fit the network."""


class StatisticsError(UsageError, ValueError):
    """A statistic is not defined for the arguments that were given."""


_SAID_IN_WORDS = {
    "input.uri": "the run read its files from another place",
    "input.manifest_sha256": "the manifest has other contents than when the run began",
    "weights_digest": "the run has other weights",
    "member_digests": "the run has other weights in at least one member of the ensemble",
}
"""What is said of fields whose values are digests, which tell a reader nothing."""


def _difference(name: str, old: object, new: object) -> str:
    if name in _SAID_IN_WORDS and None not in (old, new):
        return _SAID_IN_WORDS[name]
    return f"{shown_value(old)} in the run, {shown_value(new)} asked for"


class FingerprintMismatchError(DiagchdBatchError):
    """A run id exists under another fingerprint.

    Args:
        run_id: The run that exists.
        differences: The name of each field that differs → (value of the existing run, value that was asked for).
    """

    exit_code = ExitCode.FINGERPRINT_MISMATCH

    def __init__(self, run_id: str, differences: dict[str, tuple[object, object]]) -> None:
        self.run_id = run_id
        self.differences = differences
        lines = "".join(f"\n  {name}: {_difference(name, *values)}" for name, values in differences.items())
        super().__init__(
            f"run {run_id} exists under another fingerprint:{lines}\n"
            "Omit --run-id to start a new run, or restore the settings above to resume this one."
        )


class RunFault(DiagchdBatchError):  # noqa: N818 - the design's own term: a fault of the run, not of an input
    """The run cannot go on. What is committed stays, and the same command resumes it."""


class VerificationError(DiagchdBatchError):
    """`verify` found something wrong in an output."""


class StorageFault(RunFault):
    """Storage refuses or fails as a whole: credentials, a missing bucket, a full disk, an endpoint that is gone."""


class ItemError(Exception):
    """One input cannot be used.

    Args:
        code: Why, as the tables show it.
        detail: A text for the private tree. It may name files.
    """

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type["ItemError"], tuple[Any, ...]]:
        """Allow pickling, which an isolated decoder needs: an exception with two arguments does not do it by itself."""
        return (type(self), (self.code, self.detail))
