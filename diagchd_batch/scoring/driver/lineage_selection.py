"""Selects what a run that builds on another one plans of its input: what is new, or what failed."""

from collections.abc import Sequence

import pyarrow.dataset as ds

from diagchd_batch.results.datasets import read_predictions
from diagchd_batch.results.lineage import latest_rows_sql, resolve_lineage
from diagchd_batch.scoring.driver.run_identity.identity import Identity
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.selection import Select, keep_selected, new_since
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from diagchd_batch.studies.scratch_database import ScratchDatabase

_FAILED = f"""
CREATE TABLE selected AS
SELECT images.* FROM images SEMI JOIN (
    SELECT image_id FROM ({latest_rows_sql("results")}) WHERE status = 'failed'
) AS failed USING (image_id);
"""


def selection_of(identity: Identity, output: Store, private: Store) -> Select | None:
    """Return what selects the run's images, or None if it has no parent and plans everything.

    Args:
        identity: The run's identity.
        output: The output.
        private: The private tree.

    Raises:
        UsageError: A record of the lineage is missing.
        RunFault: A plan of the lineage is missing or damaged.
    """
    if identity.parent_run_id is None:
        return None
    plans = lineage_plans(identity.parent_run_id, output, private)
    if identity.selection == "new":
        return new_since(plans)
    return failed_in([read_predictions(output, plan.run_id) for plan in plans], plans)


def failed_in(results: Sequence[ds.Dataset], plans: Sequence[Plan]) -> Select:
    """Return a selection of the files with a frame that failed and that no run of the lineage scored.

    Args:
        results: The predictions of each run of the lineage, the oldest first, with columns ``image_id``, ``frame`` and
            ``error_code``.
        plans: The plans of the lineage, the oldest first.
    """

    def select(database: ScratchDatabase) -> None:
        database.execute("CREATE TABLE results (image_id VARCHAR, frame INTEGER, status VARCHAR, generation INTEGER)")
        is_ok = ds.field("error_code").is_null()
        for generation, rows in enumerate(results):
            for batch in rows.to_batches(columns=["image_id", "frame"], filter=~is_ok):
                database.insert("results", batch, f"SELECT *, 'failed' AS status, {generation} AS generation")
        # Rows that are ok matter only for files that failed somewhere, which are few.
        for generation, rows in enumerate(results):
            for batch in rows.to_batches(columns=["image_id", "frame"], filter=is_ok):
                database.insert(
                    "results",
                    batch,
                    f"SELECT *, 'ok' AS status, {generation} AS generation",
                    "WHERE image_id IN (SELECT image_id FROM results)",
                )
        database.execute(_FAILED)
        keep_selected(database, plans)

    return select


def lineage_plans(run_id: str, output: Store, private: Store) -> list[Plan]:
    """Return the plans of a run and of those that it builds on, oldest first.

    Args:
        run_id: The newest run of the lineage.
        output: The output.
        private: The private tree.

    Raises:
        UsageError: A record of the lineage is missing.
        RunFault: A plan of the lineage is missing or damaged.
    """
    return [open_plan(private, record.run_id) for record in resolve_lineage(output, run_id)]
