"""What a gallery says of a study: its own id, its score, its label and its diagnosis. These facts are identified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch.errors import UsageError
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.results.output import Output
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.studies.tables.evaluation_inputs import REFERENCE, name_by_study_id
from diagchd_batch.wording import shown_value

_RESULT_COLUMNS = (
    "study_id",
    "status",
    "operating_point",
    "score",
    "call",
    "reference_label",
    "n_images",
)


@dataclass(frozen=True)
class Studies:
    """The studies of a lineage.

    Attributes:
        own_ids: Own id by token.
        results: Row of `study_results` by token, at the operating point of the report's headline.
        diagnoses: Diagnosis by own id, from the reference table.
    """

    own_ids: Mapping[str, str]
    results: Mapping[str, Mapping[str, Any]]
    diagnoses: Mapping[str, str] = field(default_factory=dict)

    @property
    def are_labelled(self) -> bool:
        """Whether any study has a reference label."""
        return any(row["reference_label"] is not None for row in self.results.values())

    def highest(self, n: int) -> list[str]:
        """Return the tokens of the studies with the highest scores, the highest first.

        Args:
            n: The largest number of studies.
        """
        scored = [row for row in self.results.values() if row["score"] is not None and row["status"] != "excluded"]
        return [row["study_id"] for row in sorted(scored, key=lambda row: (-row["score"], row["study_id"]))[:n]]

    def token(self, name: str) -> str:
        """Return the token of a study that is named by its own id or its token.

        Args:
            name: The own id or the token.

        Raises:
            UsageError: The lineage has no such study.
        """
        if name in self.own_ids:
            return name
        found = [token for token, own_id in self.own_ids.items() if own_id == name]
        if not found:
            raise UsageError(
                f"--study {shown_value(name)}: no plan of this run or of the runs that it continues has such a study; "
                "give the study's own id as in the manifest, or its token s-…"
            )
        return found[0]

    def diagnosis(self, study_id: str) -> str | None:
        """Return the diagnosis of a study, or None if the reference table has none.

        Args:
            study_id: The study's token.
        """
        return self.diagnoses.get(self.own_ids.get(study_id, ""))


def read_studies(
    output: Output, lineage: Sequence[str], operating_point: str | None, reference: pd.DataFrame | None
) -> Studies:
    """Read what is known of the studies of a lineage.

    Args:
        output: The output, with its private tree.
        lineage: Run ids, the oldest first.
        operating_point: The operating point whose calls count; None for the first in the table.
        reference: The reference table as `read_reference` returns it, or None.

    Returns:
        The studies of all plans of the lineage; where several have a study, the newest counts.

    Raises:
        RunFault: A plan or a table cannot be read.
        InputError: The reference table names studies by ambiguous accession numbers.
    """
    columns = ["study_id", "source_study_id", "accession_number"]
    plans = [open_plan(output.private, run_id) for run_id in lineage]
    planned = pa.concat_tables(plan.studies().read_all().select(columns) for plan in plans)
    tokens = planned["study_id"].to_pylist()
    own_ids = dict(zip(tokens, planned["source_study_id"].to_pylist(), strict=True))
    diagnoses: dict[str, str] = {}
    if reference is not None:
        once = pa.Table.from_pandas(planned.to_pandas().drop_duplicates("study_id"), preserve_index=False)
        named = name_by_study_id(reference, REFERENCE, once)[["study_id", "diagnosis"]].dropna()
        diagnoses = dict(zip(named["study_id"], named["diagnosis"], strict=True))
    return Studies(own_ids, _results(output, lineage[-1], operating_point), diagnoses)


def _results(output: Output, run_id: str, operating_point: str | None) -> dict[str, dict[str, Any]]:
    table = read_metrics(output.storage, run_id, "study_results", _RESULT_COLUMNS)
    if table is None or not table.num_rows:
        return {}
    point = operating_point or table["operating_point"][0].as_py()
    rows = table.filter(pc.equal(table["operating_point"], point)).to_pylist()
    return {row["study_id"]: row for row in rows}
