"""The one exception tree of the package.

Two kinds, never mixed up:

* `DiagchdBatchError`: a fault of the call, the configuration or the run. It ends the command with `exit_code`; the
  message says what is wrong, with which input, and what to do.
* `ItemError`: one input (an image, a mask) cannot be used. It becomes a failed row with `code`; the run goes on.
"""

from diagchd_batch.failures import FailureCode


class DiagchdBatchError(Exception):
    """Base class. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(DiagchdBatchError):
    """The caller asked for something that cannot be: an unknown run, a refused combination of options."""

    exit_code = 2


class ConfigError(UsageError):
    """A job file, an override or an environment variable is invalid."""


class InputError(UsageError):
    """An inventory, manifest, reference, readers or covariates file cannot be used as it is."""


class WeightsError(UsageError):
    """A checkpoint cannot be read or does not fit the network."""


class StatisticsError(UsageError, ValueError):
    """A statistic was asked for on arguments for which it is not defined."""


class FingerprintMismatchError(DiagchdBatchError):
    """A run id exists under another fingerprint.

    `differences` maps a field to (value of the existing run, value asked for).
    """

    exit_code = 4

    def __init__(self, run_id: str, differences: dict[str, tuple[object, object]]) -> None:
        self.run_id = run_id
        self.differences = differences
        lines = "".join(
            f"\n  {name}: {old!r} in the run, {new!r} asked for" for name, (old, new) in differences.items()
        )
        super().__init__(
            f"run {run_id} exists under another fingerprint:{lines}\n"
            "Leave --run-id away to start a new run, or restore the settings above to resume this one."
        )


class RunFault(DiagchdBatchError):  # noqa: N818 - the design's own term: a fault of the run, not of an input
    """The run cannot go on, but what is committed stays and the same command resumes it."""


class VerificationError(DiagchdBatchError):
    """`verify` found something wrong in an output."""


class StorageFault(RunFault):
    """Storage refuses or fails as a whole: credentials, missing bucket, full disk, endpoint gone."""


class ItemError(Exception):
    """One input cannot be used. `detail` may name files and is written under `private/` only."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self):  # two-argument constructors do not pickle by themselves; isolation sends these over a pipe
        return (type(self), (self.code, self.detail))
