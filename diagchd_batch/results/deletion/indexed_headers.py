"""Finds the rows of the index of headers that are a subject's, also those of files that no run has planned."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch import output_layout
from diagchd_batch.results.deletion.row_removal import opened_table, row_groups
from diagchd_batch.results.deletion.subject_search import Subject
from diagchd_batch.storage import Store

_COLUMNS = ["key", "study_uid", "patient_id", "issuer_of_patient_id"]


@dataclass(frozen=True)
class IndexedSubject:
    """What tells the rows of a subject.

    Attributes:
        keys: The subject's files.
        study_uids: The studies of those files, and the subject's own ids.
        patients: The patients of those files, each as Patient ID and issuer.
    """

    keys: pa.Array
    study_uids: pa.Array
    patients: pa.Array

    def rows(self, table: pa.Table) -> pa.ChunkedArray:
        """Return which rows of the index belong to the subject.

        More rows than the subject's may be found, where a Patient ID stands for several people. That does no harm:
        the next update of the index reads them again.

        Args:
            table: Rows of the index.

        Returns:
            Booleans without nulls.
        """
        found = pc.or_(pc.is_in(table["key"], self.keys), pc.is_in(table["study_uid"], self.study_uids))
        return pc.or_(found, pc.fill_null(pc.is_in(_patients(table), self.patients), False))


def find_in_index(private: Store, subject: Subject) -> IndexedSubject:
    """Return what tells a subject's rows in the index of headers.

    Args:
        private: The private tree.
        subject: The subject.

    Raises:
        RunFault: A table of the index cannot be read.
    """
    keys = pa.array(sorted(subject.files), pa.string())
    own_ids = pa.array(sorted(subject.own_ids), pa.string())
    studies: set[str] = set(subject.own_ids)
    patients: set[str] = set()
    for info in list(private.list(output_layout.HEADER_INDEX_PREFIX)):
        if output_layout.HEADER_INDEX_PART.fullmatch(info.key):
            with opened_table(private, info.key) as file:
                for table in row_groups(file, _COLUMNS):
                    of_files = pc.or_(pc.is_in(table["key"], keys), pc.is_in(table["study_uid"], own_ids))
                    found = table.filter(pc.or_(of_files, pc.is_in(table["patient_id"], own_ids)))
                    studies |= set(found["study_uid"].to_pylist())
                    patients |= set(_patients(found).to_pylist())
    return IndexedSubject(keys, _texts(studies), _texts(patients))


def _patients(table: pa.Table) -> pa.ChunkedArray:
    """Return Patient ID and issuer as one text for each row; null where there is no Patient ID."""
    issuers = pc.fill_null(table["issuer_of_patient_id"], "")
    return pc.binary_join_element_wise(table["patient_id"], issuers, "\0")


def _texts(values: Iterable[str | None]) -> pa.Array:
    return pa.array(sorted(value for value in values if value), pa.string())
