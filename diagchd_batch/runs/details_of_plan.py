"""`plan --details`: writes the names of missing, skipped and duplicate files to the private tree.

How many images of a run have the content of another one is counted here, too.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.output_layout import PLAN_DETAILS_FILE, SOURCES_FILE, sources_prefix
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.columns import SOURCES
from diagchd_batch.results.datasets import damage_as_fault, parquet_files
from diagchd_batch.results.output import Output
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


_SAME_CONTENT = """
SELECT count(*) - count(DISTINCT content)
FROM (SELECT DISTINCT hash(image_id) AS image, hash(sha256) AS content FROM sources WHERE sha256 IS NOT NULL)
"""


def count_same_content(output: Output, run_id: str) -> int:
    """Return the number of images of a run that have the content of another one, by the digests of what was read.

    Args:
        output: The output, with its private tree.
        run_id: The run.

    Raises:
        RunFault: A table of the private tree is damaged.
    """
    keys = [info.key for info in output.private.list(sources_prefix(run_id)) if SOURCES_FILE.fullmatch(info.key)]
    if not keys:
        return 0
    with damage_as_fault(run_id), memory_database(spills=True) as connection:
        connection.register("sources", parquet_files(output.private, keys, SOURCES))
        row = connection.execute(_SAME_CONTENT).fetchone()
    return row[0] if row else 0
