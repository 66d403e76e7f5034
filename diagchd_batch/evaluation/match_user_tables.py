"""What people know of the studies: reference standard, readers' calls and covariates, matched to the run's studies."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from diagchd_batch.errors import InputError
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.readers.reads import Reads
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.studies.tables.evaluation_inputs import COVARIATES, READERS, REFERENCE, name_by_study_id

_READERS_AS_STANDARD = ("majority", "reader", "panel")
"""Words in a label's `method` that say that it was made of readers' calls."""


@dataclass
class Matching:
    """Records which study ids of the tables the inventory lacks.

    Attributes:
        unmatched: Table and study id as written there. Identified: for the private tree only.
        n_unmatched: Number of study ids by table.
    """

    unmatched: list[tuple[str, str]] = field(default_factory=list)
    n_unmatched: dict[str, int] = field(default_factory=dict)


def match_reference(database: CohortDatabase, reference: pd.DataFrame | None, matching: Matching) -> None:
    """Create the table `labels` (study, label, diagnosis, method) from the reference table and the manifest's labels.

    Args:
        database: A database with the table `planned`.
        reference: The reference table as `read_reference` returns it, or None to use the manifest's labels only.
        matching: Records unmatched study ids.

    Raises:
        InputError: The reference table contradicts the manifest, or names studies by ambiguous accession numbers.
    """
    if reference is None:
        database.execute(
            "CREATE TABLE labels AS SELECT study, manifest_label AS label, CAST(NULL AS VARCHAR) AS diagnosis, "
            "CAST(NULL AS VARCHAR) AS method FROM planned"
        )
        return
    named = name_by_study_id(reference, REFERENCE, _planned_studies(database))
    _match(database, "reference", named[["study_id", "label", "diagnosis", "method"]], matching)
    wrong = database.scalar("SELECT count(*) FROM reference JOIN planned USING (study) WHERE label <> manifest_label")
    if wrong:
        raise InputError(
            f"evaluation.reference: {wrong} labels contradict those of input.manifest or of the images' folders; "
            "run the command `plan` to see the first such row, and correct one of the two"
        )
    database.execute(
        "CREATE TABLE labels AS SELECT study, coalesce(reference.label, manifest_label) AS label, diagnosis, method "
        "FROM planned LEFT JOIN reference USING (study)"
    )


def labels_made_of_reads(database: CohortDatabase) -> np.ndarray:
    """Return whether each study's reference label was made of readers' calls, as far as its `method` says.

    Args:
        database: A database with the table `labels`.
    """
    words = " OR ".join(f"contains(lower(method), '{word}')" for word in _READERS_AS_STANDARD)
    return database.arrays(f"SELECT coalesce({words}, false) AS own FROM labels ORDER BY study")["own"].astype(bool)


def match_readers(database: CohortDatabase, readers: pd.DataFrame, names: DisplayNames, matching: Matching) -> Reads:
    """Return the reads of the run's studies, with the names to show.

    Args:
        database: A database with the table `planned`.
        readers: The readers' table as `read_readers` returns it.
        names: Gives the names to show.
        matching: Records unmatched study ids.

    Raises:
        InputError: The table names studies by ambiguous accession numbers.
    """
    named = name_by_study_id(readers, READERS, _planned_studies(database))
    _match(database, "reads", named.drop(columns="row_in_file"), matching)
    columns = database.arrays(
        "SELECT study, reader, coalesce(session, '') AS session, coalesce(arm, '') AS arm, status, "
        "CAST(call AS DOUBLE) AS call, CAST(score AS DOUBLE) AS score FROM reads ORDER BY study, reader, session, arm"
    )
    return Reads(
        study=columns["study"],
        reader=_renamed(columns["reader"], names.readers(readers["reader"].unique())),
        session=_renamed(columns["session"], names.numbered("session", set(columns["session"]) - {""}, in_order=True)),
        arm=_renamed(columns["arm"], names.numbered("arm", set(columns["arm"]) - {""}, in_order=True)),
        status=columns["status"],
        call=columns["call"].astype(np.float64),
        score=columns["score"].astype(np.float64),
    )


def match_covariates(database: CohortDatabase, covariates: pd.DataFrame, matching: Matching) -> list[str]:
    """Create the table `covariates` (study, c0, c1, …).

    Args:
        database: A database with the table `planned`.
        covariates: The covariates' table as `read_covariates` returns it.
        matching: Records unmatched study ids.

    Returns:
        The user's names of the columns c0, c1, …

    Raises:
        InputError: The table names studies by ambiguous accession numbers.
    """
    covariates = name_by_study_id(covariates, COVARIATES, _planned_studies(database))
    own = [name for name in covariates.columns if name not in ("study_id", "row_in_file")]
    renamed = covariates[["study_id", *own]].rename(columns={name: f"c{place}" for place, name in enumerate(own)})
    _match(database, "covariates", renamed, matching)
    return own


def _planned_studies(database: CohortDatabase) -> pa.Table:
    return database.table("SELECT source_study_id, accession_number FROM planned ORDER BY study")


def _match(database: CohortDatabase, table: str, frame: pd.DataFrame, matching: Matching) -> None:
    incoming = f"incoming_{table}"
    database.register(
        incoming, pa.Table.from_pandas(frame.rename(columns={"study_id": "own_id"}), preserve_index=False)
    )
    database.execute(
        f"CREATE TABLE {table} AS SELECT study, {incoming}.* EXCLUDE (own_id) "
        f"FROM {incoming} JOIN planned ON own_id = source_study_id"
    )
    unmatched = database.table(
        f"SELECT DISTINCT own_id FROM {incoming} ANTI JOIN planned ON own_id = source_study_id ORDER BY own_id"
    )["own_id"].to_pylist()
    matching.unmatched += [(table, own_id) for own_id in unmatched]
    matching.n_unmatched[table] = len(unmatched)


def _renamed(values: Iterable[str], names: dict[str, str]) -> np.ndarray:
    return np.array([names.get(value, value) for value in values], dtype=object)
