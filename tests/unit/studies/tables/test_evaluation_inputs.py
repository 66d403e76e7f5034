from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from diagchd_batch.errors import InputError
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES
from diagchd_batch.studies.tables.evaluation_inputs import (
    COVARIATES,
    READERS,
    REFERENCE,
    match_studies,
    name_by_study_id,
    read_covariates,
    read_readers,
    read_reference,
    refuse_accession_numbers,
    refuse_contradicting_labels,
)
from tests.unit.studies.archives import Archive


def studies(labels: dict[str, int | None]) -> pa.Table:
    rows = [
        {"subject_id": "p", "study_id": f"s-{i}", "source_study_id": i, "label": label, "n_images": 1}
        | {"exclude_reasons": []}
        for i, label in labels.items()
    ]
    return pa.Table.from_pylist(rows, PLAN_STUDIES)


def values(table: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return [
        tuple(None if pd.isna(value) else value for value in row)
        for row in table[list(columns)].itertuples(index=False)
    ]


def test_reference(archive: Archive) -> None:
    path = archive.write_table("study_id;label;diagnosis\n007;1;HLHS\n7;0;\n8;;unclear\n")
    table = read_reference(path)
    assert values(table, "study_id", "label", "diagnosis", "method") == [
        ("007", 1, "HLHS", None),
        ("7", 0, None, None),
        ("8", None, "unclear", None),
    ]


def test_ids_match_as_strings_and_what_does_not_match_is_listed(archive: Archive) -> None:
    table = read_reference(archive.write_table("study_id,label\n007,1\n7,0\nz,\ny,1\n"))
    match = match_studies(table, studies({"007": None, "8": None, "z": None}))
    assert (match.n_matched, match.n_without_row, match.unmatched_ids) == (2, 1, ("7", "y"))


def test_readers_with_many_rows_a_study_match_by_study(archive: Archive) -> None:
    table = read_readers(archive.write_table("study_id,reader,status,call\na,R1,read,1\na,R2,read,0\nb,R1,not_read,\n"))
    match = match_studies(table, studies({"a": 1, "c": 0}))
    assert (match.n_matched, match.n_without_row, match.unmatched_ids) == (1, 1, ("b",))


def test_a_reference_that_contradicts_the_manifest_is_refused(archive: Archive) -> None:
    table = read_reference(archive.write_table("study_id,label\nann,\nbob,1\ncid,0\nunknown,1\n"))
    refuse_contradicting_labels(table, studies({"ann": 1, "bob": None, "cid": 0}))
    with pytest.raises(InputError, match=r"line 4: label contradicts .* \(1 study in all") as refused:
        refuse_contradicting_labels(table, studies({"ann": 1, "bob": 1, "cid": 1}))
    assert refused.value.exit_code == 2
    assert "cid" not in str(refused.value)


def test_readers(archive: Archive) -> None:
    path = archive.write_table(
        "study_id,reader,session,arm,status,call,score\n"
        "1,R1,a,aided,read,1,0.9\n1,R1,b,,Read,0,\n1,R2,,,not_read,,\n2,R1,a,,indeterminate,,0.5\n"
    )
    table = read_readers(path)
    assert values(table, "study_id", "reader", "session", "arm", "status", "call", "score") == [
        ("1", "R1", "a", "aided", "read", 1, 0.9),
        ("1", "R1", "b", None, "read", 0, None),
        ("1", "R2", "", None, "not_read", None, None),
        ("2", "R1", "a", None, "indeterminate", None, 0.5),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("ann,R1,a,read,1\nann,R1,b,read,1\nbob,R1,a,read,0\nann,R1,a,read,0\n", "line 2 and line 5: two rows"),
        ("ann,R1,a,read,\n", "line 2: status read needs a call"),
        ("ann,R1,a,not_read,0\n", "line 2: status not_read has no call"),
        ("ann,R1,a,indeterminate,1\n", "line 2: status indeterminate has no call"),
        ("ann,R1,a,skipped,\n", "line 2: status is not one of read, not_read, indeterminate"),
        ("ann,R1,a,read,2\n", "line 2: call is not 0, 1 or empty"),
        ("ann,,a,read,1\n", "line 2: reader is empty"),
        ("", "has no rows"),
    ],
)
def test_readers_that_contradict_themselves_are_refused(archive: Archive, rows: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as refused:
        read_readers(archive.write_table("study_id,reader,session,status,call\n" + rows))
    assert "ann" not in str(refused.value)


@pytest.mark.parametrize("read", [read_reference, read_covariates])
def test_a_second_row_of_a_study_is_refused(archive: Archive, read: Callable[[str], Any]) -> None:
    with pytest.raises(InputError, match="line 2 and line 4: two rows of the same study_id"):
        read(archive.write_table("study_id,label\na,1\nb,1\na,1\n"))


@pytest.mark.parametrize(
    ("column", "cell", "days"),
    [
        ("gestational_age", "20+3", 143),
        ("gestational_age_weeks", "20.5", 143.5),
        ("Gestational_Age_Days", "143", 143),
    ],
)
def test_gestational_age_becomes_days(archive: Archive, column: str, cell: str, days: float) -> None:
    table = read_covariates(archive.write_table(f"study_id,{column},site\na,{cell},North\nb,,\n"))
    assert values(table, "study_id", "gestational_age_days", "site") == [("a", days, "North"), ("b", None, None)]


def test_covariates_keep_their_own_names_and_values(archive: Archive) -> None:
    table = read_covariates(archive.write_table("STUDY_ID,Site No,BMI\na,007,27.5\n"))
    assert values(table, "study_id", "Site No", "BMI") == [("a", "007", "27.5")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("study_id,gestational_age\na,20.3\n", "line 2: gestational_age is not written as 20"),
        ("study_id,gestational_age_weeks\na,143\n", "unit"),
        ("study_id,gestational_age_weeks,gestational_age_days\na,20,140\n", "both give gestational age"),
    ],
)
def test_gestational_age_of_doubtful_unit_is_refused(archive: Archive, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_covariates(archive.write_table(text))


def dicom_studies(accession_numbers: dict[str, str | None]) -> pa.Table:
    rows = [
        {"subject_id": "p", "study_id": f"s-{uid}", "source_study_id": uid, "accession_number": number, "n_images": 1}
        | {"exclude_reasons": []}
        for uid, number in accession_numbers.items()
    ]
    return pa.Table.from_pylist(rows, PLAN_STUDIES)


TABLES: list[tuple[Callable[[str], pd.DataFrame], str, str, str]] = [
    (read_reference, REFERENCE, "label", "1"),
    (read_readers, READERS, "reader,status,call", "R1,read,1"),
    (read_covariates, COVARIATES, "site", "North"),
]


@pytest.mark.parametrize(("read", "source", "columns", "cells"), TABLES)
def test_studies_may_be_named_by_uid_or_accession_number(
    archive: Archive, read: Callable[[str], pd.DataFrame], source: str, columns: str, cells: str
) -> None:
    known = dicom_studies({"1.2": "A1", "1.3": "A2", "1.4": None, "1.5": "A5", "1.6": "A5"})
    by_uid = read(archive.write_table(f"STUDY_UID,{columns}\n1.2,{cells}\n1.9,{cells}\n"))
    match = match_studies(name_by_study_id(by_uid, source, known), known)
    assert (match.n_matched, match.unmatched_ids) == (1, ("1.9",))
    assert "study_uid" not in by_uid
    by_number = read(archive.write_table(f"{columns},accession_number\n{cells},A2\n{cells},A9\n"))
    named = name_by_study_id(by_number, source, known)
    assert list(named["study_id"]) == ["1.3", "accession_number A9"]
    assert "accession_number" not in named
    match = match_studies(named, known)
    assert (match.n_matched, match.n_without_row) == (1, 4)


@pytest.mark.parametrize(("read", "source", "columns", "cells"), TABLES)
def test_ambiguous_accession_numbers_are_refused_without_showing_them(
    archive: Archive, read: Callable[[str], pd.DataFrame], source: str, columns: str, cells: str
) -> None:
    known = dicom_studies({"1.2": "A1", "1.5": "CANARY", "1.6": "CANARY"})
    table = read(archive.write_table(f"accession_number,{columns}\nA1,{cells}\nCANARY,{cells}\n"))
    with pytest.raises(
        InputError, match=rf"{source}, line 3: .*several studies \(1 such row in all\).*study_uid"
    ) as no:
        name_by_study_id(table, source, known)
    assert "CANARY" not in str(no.value)
    named = name_by_study_id(table, source, studies({"a": None}))
    assert list(named["study_id"]) == ["accession_number A1", "accession_number CANARY"]
    refuse_accession_numbers(table, source, "dicom")
    with pytest.raises(
        InputError, match=rf"{source} names .*, and the job has layout tree; name the studies by study_id"
    ):
        refuse_accession_numbers(table, source, "tree")
    refuse_accession_numbers(read(archive.write_table(f"study_uid,{columns}\n1.2,{cells}\n")), source, "manifest")


@pytest.mark.parametrize(("read", "source", "columns", "cells"), TABLES)
def test_a_table_needs_one_column_that_names_studies_and_study_id_comes_first(
    archive: Archive, read: Callable[[str], pd.DataFrame], source: str, columns: str, cells: str
) -> None:
    with pytest.raises(InputError, match=r"no column study_id or study_uid or accession_number; .* least study_id"):
        read(archive.write_table(f"{columns}\n{cells}\n"))
    table = read(archive.write_table(f"accession_number,study_id,{columns}\nA1,a,{cells}\nA1,b,{cells}\n"))
    assert list(name_by_study_id(table, source, studies({"a": None}))["study_id"]) == ["a", "b"]
    with pytest.raises(InputError, match=r"line 2 and line 3: two rows of the same .*accession_number"):
        read(archive.write_table(f"accession_number,{columns}\nA1,{cells}\nA1,{cells}\n"))
