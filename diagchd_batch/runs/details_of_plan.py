"""`plan --details`: writes the names of missing, skipped and duplicate files to the private tree."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.output_layout import PLAN_DETAILS_FILE
from diagchd_batch.studies.plan.problem_files import DETAIL_COLUMNS, plan_details
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PlanDetails:
    """The file that names what a plan misses, skips or has twice.

    Attributes:
        file: The place of the CSV file in the private tree.
        counts: What is named, such as ``missing image`` -> the number of files.
    """

    file: str
    counts: Mapping[str, int]


def write_plan_details(config: InputConfig, workspace: Workspace, database: ScratchDatabase) -> PlanDetails:
    """Write the file, in place of an earlier one.

    Args:
        config: The input block of the job file.
        workspace: The job's output with its private tree and archive.
        database: The database that the plan is made from.

    Returns:
        The place of the file, and how many files it names.

    Raises:
        StorageFault: The private tree cannot be written.
    """
    rows = list(plan_details(database, workspace.archive, by_name=config.layout != "dicom"))
    workspace.private.replace(PLAN_DETAILS_FILE, to_csv(rows, DETAIL_COLUMNS, for_excel=True))
    file = f"{workspace.private.uri.rstrip('/')}/{PLAN_DETAILS_FILE}"
    return PlanDetails(file, dict(Counter(row["what"] for row in rows)))
