"""`report`: writes a run's HTML report, and a gallery of its cases."""

from dataclasses import dataclass

from diagchd_batch.report import write_report
from diagchd_batch.report.gallery import write_gallery
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.runs.run_lookup import OnNote, ignore_note, latest_finished_run
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Report:
    """What `report` wrote: the key of the report in the output, and of the gallery in the private tree."""

    run_id: str
    key: str
    gallery_key: str | None


def report(
    workspace: Workspace, run_id: str | None = None, *, gallery: int | None = None, on_note: OnNote = ignore_note
) -> Report:
    """Write a run's report from its metrics tables, and on request a gallery.

    Args:
        workspace: The output that holds the run.
        run_id: The run; the latest finished one by default.
        gallery: How many cases of each kind the gallery shows; None for no gallery. It is identified: pictures can
            carry names, and it names files.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        The run, and the keys of its report and gallery.

    Raises:
        UsageError: The output holds no such run, or the run was not evaluated.
        StorageFault: The gallery's images cannot be read because the input is gone.
    """
    refuse_unfinished_deletion(workspace.private)
    run_id = run_id or latest_finished_run(workspace, on_note).run_id
    key = write_report(workspace.storage, run_id)
    return Report(run_id, key, write_gallery(workspace, run_id, gallery) if gallery else None)
