"""`export`: aggregates that may be shared, the clinic's worklist, objects for a PACS, and masks as pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import DicomwebConfig, JobConfig
from diagchd_batch.config.loading import parse_job
from diagchd_batch.errors import ConfigError, UsageError
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.exports.chosen_images import ChosenImage, StudyChoice, chosen_images
from diagchd_batch.exports.label_pngs import LabelPngExport, export_label_pngs
from diagchd_batch.exports.shareable import ShareableSummary, export_shareable
from diagchd_batch.exports.worklist import Format, WorklistSummary, export_worklist
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.runs.rescore import digest_as_recorded
from diagchd_batch.runs.run_lookup import OnNote, chosen_run, ignore_note
from diagchd_batch.runs.show import recorded_sources
from diagchd_batch.scoring.driver.run_identity.archive_binding import InputRoot
from diagchd_batch.sources import Source, open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.uris import DICOMWEB_SCHEMES, is_local_path, join_uri, scheme_of, without_query
from diagchd_batch.workspace import Workspace

if TYPE_CHECKING:
    from diagchd_batch.exports.dicom.export_studies import DicomExport
    from diagchd_batch.exports.dicom.storing.destination import Destination


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
    file_format: Format = "csv",
    on_note: OnNote = ignore_note,
) -> Worklist:
    """Write a run's studies, by score and under their own ids, and those that failed. The files are identified.

    Args:
        workspace: The output that holds the run. Its private tree must be readable.
        destination: A directory or ``s3://…``; a directory of the private tree by default.
        run_id: The run; the latest finished one by default.
        file_format: CSV files, or workbooks of Excel.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        What was written, and where.

    Raises:
        UsageError: The output holds no such run, or the destination cannot be used.
    """
    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    place = destination or join_uri(workspace.private.uri, output_layout.worklist_prefix(record.run_id))
    store = open_store(place, owner_only=True)
    return Worklist(export_worklist(workspace, record, store, file_format), place)


def write_dicom(
    workspace: Workspace,
    destination: str,
    run_id: str | None = None,
    *,
    choice: StudyChoice = StudyChoice(),
    captures: bool = False,
    dry_run: bool = False,
    on_note: OnNote = ignore_note,
    on_progress: Callable[[int, int, "DicomExport"], None] = lambda *_: None,
) -> "DicomExport":
    """Write results as DICOM objects of the studies that they belong to. The objects are identified.

    Args:
        workspace: The output that holds the run. Its private tree must be readable.
        destination: A folder outside every output, or in the private tree; or a PACS, ``dicomweb+https://host/path``.
        run_id: The run; the latest finished one by default.
        choice: The studies; all of them by default.
        captures: Whether to write Secondary Captures with the outlines, too.
        dry_run: Only find out what would be written.
        on_note: Receives a sentence for each run that is left out because its record is damaged.
        on_progress: Receives, after each image, the number of images so far, that of all chosen images, and what was
            done so far.

    Returns:
        What was written, and what could not be.

    Raises:
        UsageError: The output holds no such run, no scored frame is chosen, an image is no DICOM object, or the
            destination cannot be used.
        StorageFault: The archive or the destination cannot be reached.
    """
    from diagchd_batch.exports.dicom.export_studies import export_studies
    from diagchd_batch.exports.dicom.objects.scored_frames import ScoringModel
    from diagchd_batch.exports.dicom.scored_sources import ScoredSources

    refuse_unfinished_deletion(workspace.private)
    record = chosen_run(workspace, run_id, on_note)
    inputs = _RunInputs(workspace)
    definition = ScoreDefinition.of(record.config.get("evaluation", {}))
    images = chosen_images(workspace, record.run_id, choice, definition)
    calibration = ScoringModel.of_run(record).calibration  # of the newest run, as in `evaluate`
    runs = workspace.runs(on_damaged=lambda *_: None)
    return export_studies(
        images,
        {of_run.run_id: replace(ScoringModel.of_run(of_run), calibration=calibration) for of_run in runs},
        ScoredSources(workspace, inputs.archive, inputs.has_scored_bytes),
        _dicom_destination(workspace, destination, inputs.limits_of_pacs(record.run_id), dry_run=dry_run),
        captures=captures,
        dry_run=dry_run,
        on_progress=lambda n_images, done: on_progress(n_images, images.n_images, done),
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


def _dicom_destination(
    workspace: Workspace, destination: str, gentle: DicomwebConfig, *, dry_run: bool
) -> "Destination":
    if is_pacs(destination):
        from diagchd_batch.exports.dicom.storing.pacs import PacsDestination

        return PacsDestination(destination, gentle)
    if not is_local_path(destination):
        raise UsageError(
            f"{without_query(destination)} is neither a folder nor a PACS, and DICOM objects name patients; name a "
            "folder of this machine or dicomweb+https://host/path"
        )
    from diagchd_batch.exports.dicom.storing.folder import FolderDestination

    return FolderDestination(destination, workspace, dry_run=dry_run)


def is_pacs(destination: str) -> bool:
    """Return whether a destination of `write_dicom` is a PACS and no folder.

    Args:
        destination: The destination.
    """
    return scheme_of(destination) in DICOMWEB_SCHEMES


class _RunInputs:
    """What the runs of an output read."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._job_of = lru_cache(maxsize=None)(self._read_job)
        self._sources_of = lru_cache(maxsize=1)(self._read_sources)

    def archive(self, run_id: str) -> tuple[Source, DecodeLimits]:
        """Return the archive that a run read, and its limits."""
        job = self._job_of(run_id)
        root = InputRoot.read(self._workspace.private, output_layout.INPUT_ROOT)
        uri = root.current if root else job.input.uri
        archive = open_source(uri, object_timeout_s=job.limits.object_timeout_s, dicomweb=job.input.dicomweb)
        archive.probe()
        return archive, _decode_limits(job)

    def limits_of_pacs(self, run_id: str) -> DicomwebConfig:
        """Return how gently the run's job treats a PACS; the defaults if its record does not say it."""
        try:
            return self._job_of(run_id).input.dicomweb
        except (ConfigError, UsageError):
            return DicomwebConfig()

    def has_scored_bytes(self, image: ChosenImage, planned: PlannedImage, data: bytes) -> bool | None:
        """Return whether these are the bytes that were scored; None if none are recorded."""
        recorded = self._sources_of(image.run_id, image.shard).get(image.image_id, {})
        if not recorded.get("sha256"):
            return None
        job = self._job_of(image.run_id)
        return recorded["sha256"] == digest_as_recorded(
            data, recorded, planned, job.input.frame_rule, _decode_limits(job)
        )

    def _read_job(self, run_id: str) -> JobConfig:
        record = read_private_run_record(self._workspace.private, run_id)
        if record is None:
            raise UsageError(
                f"the private tree holds no record of run {run_id}, so its files are not known; name that tree with "
                "--private-uri"
            )
        return parse_job(record.full_config, f"the job file in the private record of run {run_id}")

    def _read_sources(self, run_id: str, shard: int) -> dict[str, dict[str, Any]]:
        return {row["image_id"]: row for row in recorded_sources(self._workspace, run_id, shard)}


def _decode_limits(job: JobConfig) -> DecodeLimits:
    return DecodeLimits(max_pixels=job.limits.max_pixels, max_file_bytes=job.limits.max_file_bytes)
