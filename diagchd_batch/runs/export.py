"""`export`: aggregates that may be shared, the clinic's worklist, objects for a PACS, and masks as pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diagchd_batch import output_layout
from diagchd_batch.config.loading import parse_job
from diagchd_batch.errors import UsageError
from diagchd_batch.exports.chosen_images import StudyChoice, chosen_images
from diagchd_batch.exports.label_pngs import LabelPngExport, export_label_pngs
from diagchd_batch.exports.shareable import ShareableSummary, export_shareable
from diagchd_batch.exports.worklist import WorklistSummary, export_worklist
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.runs.run_lookup import OnNote, chosen_run, ignore_note
from diagchd_batch.runs.show import recorded_sources
from diagchd_batch.scoring.driver.run_identity.archive_binding import InputRoot
from diagchd_batch.sources import Source, open_source
from diagchd_batch.storage import open_store
from diagchd_batch.uris import is_local_path, join_uri
from diagchd_batch.workspace import Workspace

if TYPE_CHECKING:
    from diagchd_batch.exports.dicom.export_studies import DicomExport


@dataclass(frozen=True, slots=True)
class Worklist:
    """What `export worklist` wrote, and where."""

    summary: WorklistSummary
    destination: str


def share(
    workspace: Workspace,
    destination: str,
    run_id: str | None = None,
    *,
    min_cell: int | None = None,
    forget_earlier: bool = False,
    on_note: OnNote = ignore_note,
) -> ShareableSummary:
    """Write a run's aggregates as CSV files for people outside.

    Args:
        workspace: The output that holds the run.
        destination: A directory or ``s3://…`` outside the output. An earlier export there is replaced.
        run_id: The run; the latest finished one by default.
        min_cell: Counts from 1 to below it are withheld; the job's `disclosure.min_cell` by default.
        forget_earlier: No earlier export of the lineage was given away, so this one need not consider them.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        What was written, and how many counts were withheld.

    Raises:
        UsageError: The output holds no such run, the run was not evaluated, or the destination cannot be used.
    """
    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    return export_shareable(workspace, record, open_store(destination), min_cell, forget_earlier=forget_earlier)


def write_worklist(
    workspace: Workspace,
    destination: str | None = None,
    run_id: str | None = None,
    *,
    on_note: OnNote = ignore_note,
) -> Worklist:
    """Write a run's studies, by score and under their own ids, and those that failed. The files are identified.

    Args:
        workspace: The output that holds the run. Its private tree must be readable.
        destination: A directory or ``s3://…``; a directory of the private tree by default.
        run_id: The run; the latest finished one by default.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        What was written, and where.

    Raises:
        UsageError: The output holds no such run, or the destination cannot be used.
    """
    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    place = destination or join_uri(workspace.private.uri, output_layout.worklist_prefix(record.run_id))
    return Worklist(export_worklist(workspace, record, open_store(place, owner_only=True)), place)


def write_dicom(
    workspace: Workspace,
    destination: str,
    run_id: str | None = None,
    *,
    choice: StudyChoice = StudyChoice(),
    captures: bool = False,
    dry_run: bool = False,
    on_note: OnNote = ignore_note,
) -> "DicomExport":
    """Write results as DICOM objects of the studies that they belong to. The objects are identified.

    Args:
        workspace: The output that holds the run. Its private tree must be readable.
        destination: A folder outside every output, or in the private tree.
        run_id: The run; the latest finished one by default.
        choice: The studies; all of them by default.
        captures: Whether to write Secondary Captures with the outlines, too.
        dry_run: Only find out what would be written.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        What was written, and what could not be.

    Raises:
        UsageError: The output holds no such run, no scored frame is chosen, an image is no DICOM object, or the
            destination cannot be used.
        StorageFault: The archive or the destination cannot be reached.
    """
    from diagchd_batch.exports.dicom.export_studies import export_studies
    from diagchd_batch.exports.dicom.folder import FolderDestination
    from diagchd_batch.exports.dicom.scored_frames import ScoringModel
    from diagchd_batch.exports.dicom.scored_sources import ScoredSources

    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    if not is_local_path(destination):
        raise UsageError(f"{destination} is no folder, and DICOM objects name patients; name a folder on this machine")
    return export_studies(
        chosen_images(workspace, record.run_id, choice),
        {of_run.run_id: ScoringModel.of_run(of_run) for of_run in workspace.runs(on_damaged=lambda *_: None)},
        ScoredSources(
            workspace, lambda of_run: _archive(workspace, of_run), lambda *shard: _digests(workspace, *shard)
        ),
        FolderDestination(destination, workspace, dry_run=dry_run),
        captures=captures,
        dry_run=dry_run,
    )


def write_label_pngs(
    workspace: Workspace,
    destination: str,
    run_id: str | None = None,
    *,
    choice: StudyChoice = StudyChoice(),
    on_note: OnNote = ignore_note,
) -> LabelPngExport:
    """Write the predicted masks of studies as PNG files of class numbers, named by tokens. Pseudonymised.

    Args:
        workspace: The output that holds the run. Its private tree, which says what is excluded, must be readable.
        destination: A directory or ``s3://…`` outside the output.
        run_id: The run; the latest finished one by default.
        choice: The studies; all of them by default.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        How many files were written.

    Raises:
        UsageError: The output holds no such run, no scored frame is chosen, or the destination cannot be used.
    """
    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    images = chosen_images(workspace, record.run_id, choice)
    return export_label_pngs(images, open_store(destination), workspace.storage)


def _archive(workspace: Workspace, run_id: str) -> tuple[Source, DecodeLimits]:
    """Return the archive that a run read, and its limits."""
    record = read_private_run_record(workspace.private, run_id)
    if record is None:
        raise UsageError(
            f"the private tree holds no record of run {run_id}, so its files are not known; name that tree with "
            "--private-uri"
        )
    job = parse_job(record.full_config, f"the job file in the private record of run {run_id}")
    root = InputRoot.read(workspace.private, output_layout.INPUT_ROOT)
    archive = open_source(root.current if root else job.input.uri, object_timeout_s=job.limits.object_timeout_s)
    archive.probe()
    return archive, DecodeLimits(max_pixels=job.limits.max_pixels, max_file_bytes=job.limits.max_file_bytes)


def _digests(workspace: Workspace, run_id: str, shard: int) -> dict[str, str]:
    """Return the digests of the files of a shard that were read whole."""
    rows = recorded_sources(workspace, run_id, shard)
    return {row["image_id"]: row["sha256"] for row in rows if row["sha256"]}
