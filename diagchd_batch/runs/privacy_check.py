"""`privacy check`: searches what an output shows to others for identifiers of its inputs."""

from collections.abc import Callable, Sequence
from typing import Any

from diagchd_batch.config.job_file import ALLOWED_KINDS
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.privacy.check import PrivacyReport, check_privacy
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import PrivateRunRecord, read_private_run_record
from diagchd_batch.storage import open_store


def check_output(
    output: Output,
    *,
    allowed: Sequence[str] | None = None,
    also_allowed: Sequence[str] = (),
    also: Sequence[str] = (),
    on_file: Callable[[int], object] = lambda n_files: None,
) -> PrivacyReport:
    """Search an output for identifiers of its inputs.

    Args:
        output: The output. Its private tree must be readable.
        allowed: Kinds of values that may be shown; by default those of the job file of the newest run.
        also_allowed: Further kinds that may be shown.
        also: URIs of other places to search, such as the destination of an export.
        on_file: Called with the number of files searched so far.

    Returns:
        The places of identifiers, and what was searched.

    Raises:
        RunFault: The private tree is missing or damaged, a deletion is not finished, or memory runs out.
    """
    refuse_unfinished_deletion(output.private)
    kinds = _allowed_by_newest_run(output) if allowed is None else allowed
    stores = [open_store(uri) for uri in also]
    for store in stores:
        store.probe()
    return check_privacy(output, [*kinds, *also_allowed], also=stores, on_file=on_file)


def _allowed_by_newest_run(output: Output) -> Sequence[str]:
    records: list[PrivateRunRecord] = []
    for run_id in output.planned_run_ids():
        try:
            record = read_private_run_record(output.private, run_id)
        except DamagedRecordError:
            continue
        records += [record] if record else []
    if not records:
        return ALLOWED_KINDS
    settings: dict[str, Any] = max(records, key=lambda record: record.started_at).full_config.get("privacy") or {}
    return settings.get("allowed", ALLOWED_KINDS)
