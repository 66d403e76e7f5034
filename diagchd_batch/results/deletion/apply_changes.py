"""Does what a deletion has decided. Doing it again, after a kill at any moment, ends in the same state."""

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.results.datasets import OutputTrees
from diagchd_batch.results.deletion.records import DeletionJournal, DeletionNote
from diagchd_batch.results.deletion.stage_changes import Prepared
from diagchd_batch.results.derived_tables import write_run_table
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.storage import Store
from diagchd_batch.storage.leftovers import remove_leftovers_below


def decide(output: OutputTrees, prepared: Prepared) -> DeletionJournal:
    """Create the journal of a deletion. From this moment on the deletion is done to its end, by whoever finds it.

    Args:
        output: The output.
        prepared: What was prepared, with its new files staged.

    Returns:
        The journal, for `apply`.

    Raises:
        RunFault: Another deletion was decided meanwhile.
    """
    journal = DeletionJournal(
        number=prepared.number,
        note=prepared.note,
        replaced=tuple(prepared.replaced),
        removed=tuple(prepared.removed),
    )
    if not journal.create(output.private, output_layout.DELETION_JOURNAL):
        raise RunFault("another deletion of this output began meanwhile; give the command again")
    if output.storage.stat(output_layout.deletion_note(journal.number)) is not None:
        # What was prepared does not know what the other deletion removed.
        withdraw(output)
        raise _overtaken()
    return journal


def withdraw(output: OutputTrees) -> None:
    """Take back the decision of a deletion of which nothing has been done yet.

    Args:
        output: The output.
    """
    output.private.delete(output_layout.DELETION_JOURNAL)


def unfinished_deletion(output: OutputTrees) -> DeletionJournal | None:
    """Return the journal of a deletion that was decided and has not ended, or None.

    Args:
        output: The output.
    """
    return DeletionJournal.read(output.private, output_layout.DELETION_JOURNAL)


def apply(output: OutputTrees, journal: DeletionJournal) -> DeletionNote:
    """Do what a journal says, or the rest of it, and remove the journal at last.

    Args:
        output: The output.
        journal: The journal.

    Returns:
        The note that the deletion left.

    Raises:
        RunFault: Another deletion ended before this one was decided, so this one was not done.
    """
    stores = {"output": output.storage, "private": output.private}
    note_key = output_layout.deletion_note(journal.number)
    if (note := DeletionNote.read(output.storage, note_key)) is None:
        for replacement in journal.replaced:
            stores[replacement.tree].replace(replacement.key, output.private.read(replacement.staged))
        for removal in journal.removed:
            stores[removal.tree].delete(removal.key)
        for run_id in journal.note.run_ids:
            _write_run_table_again(output.storage, run_id)
        for store in stores.values():
            remove_leftovers_below(store)
        journal.note.create(output.storage, note_key)
    # From here on all is done, and staged files may be gone.
    for info in list(output.private.list(output_layout.DELETION_PREFIX)):
        if info.key != output_layout.DELETION_JOURNAL:
            output.private.delete(info.key)
    output.private.delete(output_layout.DELETION_JOURNAL)
    if note is not None and note != journal.note:
        raise _overtaken()
    return journal.note


def _write_run_table_again(storage: Store, run_id: str) -> None:
    """Write the row of a run in the table `runs` again if it is there, because it holds the counts of its record."""
    record = read_run_record(storage, run_id)
    if record is not None and storage.stat(output_layout.run_table_file(run_id)) is not None:
        write_run_table(storage, record)


def _overtaken() -> RunFault:
    return RunFault("another deletion of this output ended meanwhile, so nothing was deleted; give the command again")
