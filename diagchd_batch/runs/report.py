"""`report`: writes a run's HTML report, and a gallery of its cases."""

from dataclasses import dataclass

import pandas as pd

from diagchd_batch import output_layout
from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.report import write_report
from diagchd_batch.report.gallery import GalleryContents, write_gallery
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.runs.run_lookup import OnNote, ignore_note, latest_finished_run, submitted_evaluation
from diagchd_batch.scoring.driver.run_identity.archive_binding import InputRoot
from diagchd_batch.studies.tables.evaluation_inputs import read_reference
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Report:
    """What `report` wrote: the key of the report in the output, and of the gallery in the private tree."""

    run_id: str
    key: str
    gallery_key: str | None


def report(
    workspace: Workspace,
    run_id: str | None = None,
    *,
    gallery: GalleryContents | None = None,
    on_note: OnNote = ignore_note,
) -> Report:
    """Write a run's report from its metrics tables, and on request a gallery.

    Args:
        workspace: The output that holds the run.
        run_id: The run; the latest finished one by default.
        gallery: What the gallery shows; None for no gallery. It is identified: pictures can carry names, and it names
            files and studies.
        on_note: Receives a sentence for each run that is left out because its record is damaged, and one if the
            gallery lacks the diagnoses because the reference table cannot be read.

    Returns:
        The run, and the keys of its report and gallery.

    Raises:
        UsageError: The output holds no such run, the run was not evaluated, or it has nothing that the gallery shows.
        StorageFault: The gallery's images cannot be read because the input is gone.
    """
    refuse_unfinished_deletion(workspace.private)
    run_id = run_id or latest_finished_run(workspace, on_note).run_id
    key = write_report(workspace.storage, run_id)
    if not gallery:
        return Report(run_id, key, None)
    root = InputRoot.read(workspace.private, output_layout.INPUT_ROOT)
    gallery_key = write_gallery(
        workspace,
        run_id,
        gallery,
        reference=_reference(workspace, run_id, on_note),
        input_uri=root.current if root else None,
    )
    return Report(run_id, key, gallery_key)


def _reference(workspace: Workspace, run_id: str, on_note: OnNote) -> pd.DataFrame | None:
    """Return the reference table that the run was submitted with, or None if it has none or it cannot be read."""
    try:
        uri = submitted_evaluation(workspace, run_id).reference
        return read_reference(uri) if uri else None
    except DiagchdBatchError as error:
        on_note(f"the gallery shows no diagnoses, because the reference table cannot be read: {error}")
        return None
