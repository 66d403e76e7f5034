"""Reads and checks the tables that the evaluation needs: reference standard, readers' calls and covariates.

The returned tables hold identifiers as they are written, so they are identified data; the evaluation replaces them by
tokens. Column ``row_in_file`` is the line or row for messages, which name rows and columns but never identifiers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from diagchd_batch.errors import InputError
from diagchd_batch.studies.tables import cell_parsing, gestational_age
from diagchd_batch.studies.tables.csv_and_parquet import TableBatch, TableColumns, read_table
from diagchd_batch.wording import counted

REFERENCE = "evaluation.reference"
READERS = "evaluation.readers"
COVARIATES = "evaluation.covariates"

STATUSES = ("read", "not_read", "indeterminate")
GESTATIONAL_AGE = {
    "gestational_age": gestational_age.from_completed_weeks,
    "gestational_age_weeks": gestational_age.from_weeks,
    "gestational_age_days": gestational_age.from_days,
}
"""The columns that may hold gestational age; their names state the unit."""

_RESERVED_COVARIATES = frozenset(
    (
        *("studies", "diagnosis", "source_resolution", "number_of_images", "training_fold"),
        *("arm", "session", "prevalence", "bins", "uncertainty"),
    )
)
"""Names under which the metrics tables show figures of their own. A covariate of that name would mix with them."""
_RESERVED_READERS = frozenset(["model", "reference", "readers", "readers_mean", "readers_and_model", "majority"])
_BETWEEN_ARMS = " − "
"""Stands between the two arms in the names of their differences."""

STUDY_COLUMNS = ("study_id", "study_uid", "accession_number")
"""The columns that may name a row's study. The first of them that a table has does; `study_uid` is the own id of a
study in layout dicom."""

_REFERENCE_COLUMNS = TableColumns(("label",), ("diagnosis", "method"), STUDY_COLUMNS)
_READERS_COLUMNS = TableColumns(("reader", "status", "call"), ("session", "arm", "score"), STUDY_COLUMNS)
_COVARIATES_COLUMNS = TableColumns((), tuple(GESTATIONAL_AGE), STUDY_COLUMNS, others_are_read=True)


@dataclass(frozen=True)
class StudyMatch:
    """How many studies of a table are in the inventory. `unmatched_ids` is identified data; show only the numbers."""

    n_matched: int  # studies of the inventory that have a row
    n_without_row: int  # studies of the inventory that have no row
    unmatched_ids: tuple[str, ...]  # studies of the table that are not in the inventory, sorted


def read_reference(uri: str) -> pd.DataFrame:
    """Read the reference standard.

    Args:
        uri: A CSV or Parquet file on disk or on S3.

    Returns:
        One row per study, with the columns study_id (or accession_number), label (Int8; 0, 1 or missing), diagnosis,
        method and row_in_file.

    Raises:
        InputError: A cell is invalid, or a study has two rows.
    """
    table = _read(uri, REFERENCE, _REFERENCE_COLUMNS, _reference_rows)
    _refuse_second_rows(table, REFERENCE, [])
    return table.astype({"label": "Int8"})


def read_readers(uri: str) -> pd.DataFrame:
    """Read the readers' calls.

    Args:
        uri: A CSV or Parquet file on disk or on S3.

    Returns:
        One row per read, with the columns study_id (or accession_number), reader, session (empty if not given), arm,
        status (one of `STATUSES`), call (Int8; 0 or 1, missing unless the status is ``read``), score (float64) and
        row_in_file.

    Raises:
        InputError: A cell is invalid, a reader has two rows for the same session and study, or a reader or an arm has
            a name that the metrics tables use themselves.
    """
    table = _read(uri, READERS, _READERS_COLUMNS, _reader_rows)
    _refuse_second_rows(table, READERS, ["reader", "session"])
    return table.astype({"call": "Int8", "score": "float64"})


def read_covariates(uri: str) -> pd.DataFrame:
    """Read the covariates.

    Args:
        uri: A CSV or Parquet file on disk or on S3.

    Returns:
        One row per study, with the columns study_id (or accession_number), gestational_age_days (float64; only if the
        table has a column of `GESTATIONAL_AGE`), the other columns of the table as strings (None if empty), and
        row_in_file.

    Raises:
        InputError: A cell is invalid, a study has two rows, two columns give the gestational age, or a column has a
            name that the metrics tables use themselves.
    """
    table = _read(uri, COVARIATES, _COVARIATES_COLUMNS, _covariate_rows)
    _refuse_second_rows(table, COVARIATES, [])
    return table


def refuse_accession_numbers(table: pd.DataFrame, source: str, layout: str) -> None:
    """Refuse a table that names studies by accession number, unless the layout knows these numbers.

    Args:
        table: A table as the functions of this module read it.
        source: The table's name in messages, such as `REFERENCE`.
        layout: The layout of the job's input.

    Raises:
        InputError: The layout is not ``dicom``.
    """
    if layout != "dicom" and "study_id" not in table:
        raise InputError(
            f"{source} names studies by accession_number, which only layout dicom reads from headers, and the job has "
            f"layout {layout}; name the studies by study_id"
        )


def name_by_study_id(table: pd.DataFrame, source: str, studies: pa.Table) -> pd.DataFrame:
    """Return a table whose rows name their studies by the studies' own ids.

    Args:
        table: A table as the functions of this module read it.
        source: The table's name in messages, such as `REFERENCE`.
        studies: The studies of the inventory, with columns ``source_study_id`` and ``accession_number``.

    Returns:
        The table itself, if it has the column study_id. Otherwise the table with that column in place of
        accession_number. A row whose accession number the inventory lacks has the id ``accession_number N``, which no
        study has.

    Raises:
        InputError: A row's accession number belongs to several studies, or no study has an accession number. The
            message names rows, and no identifier.
    """
    if "accession_number" not in table or "study_id" in table:
        return table
    known = studies.select(["source_study_id", "accession_number"]).to_pandas().dropna(subset="accession_number")
    is_ambiguous = known["accession_number"].duplicated(keep=False)
    wrong = table[table["accession_number"].isin(known.loc[is_ambiguous, "accession_number"])]
    if len(wrong):
        raise InputError(
            f"{source}, {wrong['row_in_file'].iloc[0]}: the accession number belongs to several studies "
            f"({counted(len(wrong), 'such row')} in all); name the studies of this table by study_uid"
        )
    ids = table["accession_number"].map(known[~is_ambiguous].set_index("accession_number")["source_study_id"])
    ids = ids.where(ids.notna(), "accession_number " + table["accession_number"])
    place = int(table.columns.get_loc("accession_number"))
    renamed = table.drop(columns="accession_number")
    renamed.insert(place, "study_id", ids)
    return renamed


def match_studies(table: pd.DataFrame, studies: pa.Table) -> StudyMatch:
    """Compare the studies of a table with those of the inventory.

    Args:
        table: A table with the column study_id, as the functions of this module return it.
        studies: The studies of the inventory, with the schema `PLAN_STUDIES`.

    Returns:
        How many studies of the inventory the table names, and which studies of the table the inventory lacks.
    """
    known = pd.Index(studies["source_study_id"].to_pylist())
    named = pd.Index(table["study_id"].unique())
    n_matched = int(known.isin(named).sum())
    return StudyMatch(n_matched, len(known) - n_matched, tuple(sorted(named.difference(known))))


def refuse_contradicting_labels(reference: pd.DataFrame, studies: pa.Table) -> None:
    """Check that reference labels agree with the labels of the manifest or of the folders.

    Args:
        reference: The reference standard, as `read_reference` returns it.
        studies: The studies of the inventory, with the schema `PLAN_STUDIES`.

    Raises:
        InputError: A study has different labels. A missing label agrees with every label.
    """
    known = studies.select(["source_study_id", "label"]).to_pandas(integer_object_nulls=True).dropna()
    both = reference.dropna(subset="label").merge(known, left_on="study_id", right_on="source_study_id")
    wrong = both[both["label_x"].astype(int) != both["label_y"].astype(int)]
    if len(wrong):
        first = wrong["row_in_file"].iloc[0]
        raise InputError(
            f"{REFERENCE}, {first}: label contradicts the one of input.manifest or of the image's "
            f"folder ({counted(len(wrong), 'study')} in all); correct one of them, or leave the label "
            "out of the manifest"
        )


def _read(
    uri: str, source: str, columns: TableColumns, to_rows: Callable[[TableBatch], dict[str, list[Any]]]
) -> pd.DataFrame:
    tables = [
        pd.DataFrame({**to_rows(batch), "row_in_file": [f"{batch.unit} {row}" for row in batch.rows]})
        for batch in read_table(uri, source, columns)
    ]
    if not tables:
        raise InputError(f"{source} has no rows below the line that names its columns")
    return pd.concat(tables, ignore_index=True)


def _reference_rows(batch: TableBatch) -> dict[str, list[Any]]:
    return {
        **_study(batch),
        "label": batch.parse("label", cell_parsing.binary),
        "diagnosis": batch.parse("diagnosis", cell_parsing.text),
        "method": batch.parse("method", cell_parsing.text),
    }


def _reader_rows(batch: TableBatch) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        **_study(batch),
        "reader": batch.parse("reader", cell_parsing.identifier),
        "session": batch.parse("session", str),
        "arm": batch.parse("arm", cell_parsing.text),
        "status": batch.parse("status", cell_parsing.one_of(*STATUSES)),
        "call": batch.parse("call", cell_parsing.binary),
        "score": batch.parse("score", cell_parsing.finite_number),
    }
    for row, reader, arm in zip(batch.rows, rows["reader"], rows["arm"], strict=True):
        if reader.casefold() in _RESERVED_READERS:
            raise InputError(
                f"{READERS}, {batch.unit} {row}: reader has a name that the metrics tables use themselves (one of "
                f"{', '.join(sorted(_RESERVED_READERS))}); rename the reader"
            )
        if arm and _BETWEEN_ARMS in arm:
            raise InputError(
                f"{READERS}, {batch.unit} {row}: arm holds a minus sign between spaces, which stands between the two "
                "arms of a difference in the metrics tables; rename the arm"
            )
    for row, status, call, score in zip(batch.rows, rows["status"], rows["call"], rows["score"], strict=True):
        if (status == "read") != (call is not None):
            problem = (
                "status read needs a call, 0 or 1"
                if status == "read"
                else f"status {status} has no call; leave it empty"
            )
            raise InputError(f"{READERS}, {batch.unit} {row}: {problem}")
        if status == "not_read" and score is not None:
            raise InputError(f"{READERS}, {batch.unit} {row}: status not_read has no score; leave it empty")
    return rows


def _covariate_rows(batch: TableBatch) -> dict[str, list[Any]]:
    given = [name for name in GESTATIONAL_AGE if name in batch.cells]
    if len(given) > 1:
        raise InputError(f"{COVARIATES}: columns {' and '.join(given)} both give gestational age; keep one")
    if reserved := sorted(name for name in batch.cells if name.strip().casefold() in _RESERVED_COVARIATES):
        raise InputError(
            f"{COVARIATES}: the metrics tables use the name {reserved[0]} for figures of their own; rename the column, "
            f"for example to {reserved[0]}_given"
        )
    rows = _study(batch)
    for name in given:
        rows["gestational_age_days"] = batch.parse(name, GESTATIONAL_AGE[name])
    for name in batch.cells:
        if name and name not in rows and name not in given and name != _study_column(batch):
            rows[name] = batch.parse(name, cell_parsing.text)
    return rows


def _study_column(batch: TableBatch) -> str:
    return next(name for name in STUDY_COLUMNS if name in batch.cells)


def _study(batch: TableBatch) -> dict[str, list[Any]]:
    """Return the column that names the studies: study_id, under which a study_uid also goes, or accession_number."""
    column = _study_column(batch)
    named = "accession_number" if column == "accession_number" else "study_id"
    return {named: batch.parse(column, cell_parsing.identifier)}


def _refuse_second_rows(table: pd.DataFrame, source: str, key: list[str]) -> None:
    key = [*key, "study_id" if "study_id" in table else "accession_number"]
    second = table.duplicated(key)
    if second.any():
        row = table[second].iloc[0]
        first, other = table.loc[(table[key] == row[key]).all(axis=1), "row_in_file"].iloc[:2]
        raise InputError(f"{source}, {first} and {other}: two rows of the same {', '.join(key)}; keep one")
