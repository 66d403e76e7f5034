"""Selects what a run that builds on another one plans of its input."""

from diagchd_batch.results.datasets import read_predictions
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.scoring.driver.identity import Identity
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.selection import Select, failed_in, new_since
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan


def selection_of(identity: Identity, output: Store, private: Store) -> Select | None:
    """Return what selects the run's images, or None if it has no parent and plans everything.

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


def lineage_plans(run_id: str, output: Store, private: Store) -> list[Plan]:
    """Return the plans of a run and of those that it builds on, oldest first."""
    return [open_plan(private, record.run_id) for record in resolve_lineage(output, run_id)]
