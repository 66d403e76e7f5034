"""`privacy check`: searches what an output shows to others for identifiers of its inputs."""

from collections.abc import Callable, Sequence
from typing import Any

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import ALLOWED_KINDS
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.model.packages.bundled import bundled_models
from diagchd_batch.model.packages.package import CARD
from diagchd_batch.privacy.check import PrivacyReport, check_package, check_privacy
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


def is_package(place: str) -> bool:
    """Return whether a place is a model package: a bundled name, or a directory or S3 prefix with a card.

    Args:
        place: What `model.name` of a job, or the argument OUTPUT of a command, may be.
    """
    return place in bundled_models() or open_store(place).stat(CARD) is not None


def check_model_package(
    package: str,
    output: Output | None,
    *,
    also_allowed: Sequence[str] = (),
    on_file: Callable[[int], object] = lambda n_files: None,
) -> PrivacyReport:
    """Search a model package for identifiers.

    Args:
        package: A bundled name, a directory or an S3 prefix.
        output: The output of the training, with its private tree; None to search for tokens and UIDs alone.
        also_allowed: Further kinds that may be shown, beside those of the job file of the output's newest run.
        on_file: Called with the number of files searched so far.

    Returns:
        The places of identifiers, and what was searched.

    Raises:
        RunFault: The private tree is missing or damaged, a deletion is not finished, or memory runs out.
    """
    if output is not None:
        refuse_unfinished_deletion(output.private)
    allowed = ALLOWED_KINDS if output is None else _allowed_by_newest_run(output)
    location = str(bundled_path(f"configs/models/{package}")) if package in bundled_models() else package
    store = open_store(location)
    store.probe()
    return check_package(store, output, [*allowed, *also_allowed], on_file=on_file)


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
