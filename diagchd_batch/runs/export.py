"""`export`: aggregates that may be shared, and the clinic's worklist."""

from dataclasses import dataclass

from diagchd_batch import output_layout
from diagchd_batch.exports.shareable import ShareableSummary, export_shareable
from diagchd_batch.exports.worklist import WorklistSummary, export_worklist
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.runs.run_lookup import OnNote, chosen_run, ignore_note
from diagchd_batch.storage import open_store
from diagchd_batch.uris import join_uri
from diagchd_batch.workspace import Workspace


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
