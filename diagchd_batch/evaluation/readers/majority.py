"""The readers' majority as a rater."""

import numpy as np

from diagchd_batch.evaluation.units_and_raters import EXCLUDED, NOT_READ, REFERENCE_FROM_READERS, UNDECIDED, Rater
from diagchd_batch.statistics.multireader.reader_groups import leave_one_out_majority, majority_call


def majority(readers: tuple[Rater, ...]) -> Rater:
    """Return the majority of the readers' calls, as `majority_call` defines it.

    Args:
        readers: The readers over the same studies. A study on which all of them lack a call for one and the same reason
            has that reason; other studies without a majority are `undecided`.
    """
    return _rater("majority", majority_call(_calls(readers)), readers)


def majority_of_others(readers: tuple[Rater, ...], reader: Rater) -> Rater:
    """Return the majority of all readers but one, with which that one can be compared.

    Args:
        readers: The readers over the same studies.
        reader: The one to leave out.
    """
    call = leave_one_out_majority(
        _calls(readers), next(place for place, other in enumerate(readers) if other is reader)
    )
    others = tuple(other for other in readers if other is not reader)
    return _rater("majority of the other readers", call, others)


def _calls(readers: tuple[Rater, ...]) -> np.ndarray:
    """Return the calls as [studies, readers]."""
    return np.stack([reader.call for reader in readers], axis=1)


def _rater(name: str, call: np.ndarray, readers: tuple[Rater, ...]) -> Rater:
    """Return the rater with these calls, and the reasons for those that are missing."""
    reason = np.where(np.isnan(call), UNDECIDED, 0)
    reasons = np.stack([reader.reason for reader in readers], axis=1)
    for shared_reason in (NOT_READ, REFERENCE_FROM_READERS, EXCLUDED):
        reason = np.where((reasons == shared_reason).all(axis=1), shared_reason, reason)
    return Rater("majority", name, call, reason.astype(np.int8))
