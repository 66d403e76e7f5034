"""Finds what an output has of a subject: the tokens, own ids and files, and every place where they are written."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diagchd_batch.errors import UsageError
from diagchd_batch.results.deletion.row_removal import row_groups
from diagchd_batch.studies.layouts.dicom import ISSUER_SEPARATOR
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.wording import shown_value

TOKEN_COLUMNS = ("subject_id", "study_id", "image_id")
"""The columns of all tables by which a row belongs to a subject."""


@dataclass(frozen=True)
class Subject:
    """What tells a subject. `own_ids` are those of the subject and of its studies; `files` are below `input.uri`."""

    tokens: dict[str, frozenset[str]]
    own_ids: frozenset[str]
    files: frozenset[str]

    @property
    def n_studies(self) -> int:
        """The number of studies."""
        return len(self.tokens["study_id"])

    @property
    def n_images(self) -> int:
        """The number of image files."""
        return len(self.tokens["image_id"])

    def rows(self, table: pa.Table) -> pa.ChunkedArray:
        """Return which rows of a table with some of `TOKEN_COLUMNS` belong to the subject.

        Args:
            table: The rows.

        Returns:
            Booleans without nulls.
        """
        found = pa.chunked_array([pa.repeat(pa.scalar(False), table.num_rows)])
        for column in TOKEN_COLUMNS:
            if column in table.column_names:
                found = pc.or_(found, pc.is_in(table[column], self._values[column]))
        return found

    def is_in_table(self, file: pq.ParquetFile, *, with_own_ids: bool = False) -> bool:
        """Return whether a cell of a table is a token or a file of the subject.

        Args:
            file: The table.
            with_own_ids: Whether the subject's own ids count, too.
        """
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
        wanted = self._exact_with_own_ids if with_own_ids else self._exact
        for rows in row_groups(file, texts):
            for column in rows.columns:
                values = column if not pa.types.is_list(column.type) else pc.list_flatten(column)
                plain = values.cast(pa.string()) if pa.types.is_dictionary(values.type) else values
                if pc.any(pc.is_in(plain, wanted)).as_py():
                    return True
        return any(self.is_in_text(value) for value in (file.schema_arrow.metadata or {}).values())

    def is_in_text(self, data: bytes) -> bool:
        """Return whether a file that is no table names a token or a file of the subject.

        Args:
            data: The contents of the file.
        """
        return bool(self._in_text.search(data))

    def may_be_in_text(self, data: bytes) -> bool:
        """Return whether a text has an own id of the subject as a word. A short id may be there by chance.

        Args:
            data: The text.
        """
        return bool(self._own_id_in_text.search(data))

    @cached_property
    def _values(self) -> dict[str, pa.Array]:
        return {column: pa.array(sorted(tokens), pa.string()) for column, tokens in self.tokens.items()}

    @cached_property
    def _exact(self) -> pa.Array:
        return pa.array(sorted(frozenset().union(*self.tokens.values()) | self.files), pa.string())

    @cached_property
    def _exact_with_own_ids(self) -> pa.Array:
        return pa.array(sorted({*self._exact.to_pylist(), *self.own_ids}), pa.string())

    @cached_property
    def _in_text(self) -> re.Pattern[bytes]:
        return _words(self._exact.to_pylist())

    @cached_property
    def _own_id_in_text(self) -> re.Pattern[bytes]:
        return _words(self.own_ids)


def find_subject(plans: Iterable[Plan], name: str) -> Subject:
    """Return what the plans of an output have of a subject.

    A study that any plan gives to the subject counts as the subject's.

    Args:
        plans: The plans of all runs.
        name: The subject's token (``p-…``) or own id, which may lack the issuer of a PatientID. Where the input names
            no subjects, it is the study's own id.

    Raises:
        UsageError: No plan has such a subject, or two subjects could be meant.
    """
    plans = list(plans)
    subjects: set[str] = set()
    for plan in plans:
        studies = plan.studies().read_all()
        by_study = pc.and_(pc.is_null(studies["source_subject_id"]), pc.equal(studies["source_study_id"], name))
        own_ids = studies["source_subject_id"]
        by_subject = pc.or_(pc.equal(studies["subject_id"], name), is_own_id(own_ids, name))
        subjects |= set(studies.filter(pc.or_(by_subject, by_study))["subject_id"].to_pylist())
    if not subjects:
        raise UsageError(
            f"no plan of this output has a subject {shown_value(name)}; give the subject's own id as in the manifest "
            "(PatientID^^^Issuer in layout dicom), its token (p-…), or the study's own id if no subject is named"
        )
    if len(subjects) > 1:
        raise UsageError(
            f"{shown_value(name)} is the id of a subject and of a study without one, or of patients of several "
            f"issuers; name one of the tokens: {', '.join(sorted(subjects))}"
        )
    return _all_of(plans, subjects)


def _all_of(plans: list[Plan], subjects: set[str]) -> Subject:
    study_ids: set[str] = set()
    own_ids: set[str | None] = set()
    for plan in plans:
        studies = plan.studies().read_all()
        of_subject = studies.filter(pc.is_in(studies["subject_id"], pa.array(sorted(subjects), pa.string())))
        study_ids |= set(of_subject["study_id"].to_pylist())
        for column in ("source_subject_id", "source_study_id"):
            own_ids |= set(of_subject[column].to_pylist())
    image_ids: set[str] = set()
    files: set[str | None] = set()
    of_studies = pa.array(sorted(study_ids), pa.string())
    for plan in plans:
        for images in plan.images(["study_id", "image_id", "uri", "mask_uri"]):
            of_subject = images.filter(pc.is_in(images["study_id"], of_studies))
            image_ids |= set(of_subject["image_id"].to_pylist())
            files |= {*of_subject["uri"].to_pylist(), *of_subject["mask_uri"].to_pylist()}
    tokens = {"subject_id": subjects, "study_id": study_ids, "image_id": image_ids}
    return Subject(
        {column: frozenset(values) for column, values in tokens.items()},
        frozenset(value for value in own_ids if value),
        frozenset(value for value in files if value),
    )


def is_own_id(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return which own ids of subjects are `name`, or are the PatientID `name` with an issuer.

    Args:
        column: Own ids of subjects, or nulls.
        name: What a user calls a subject.

    Returns:
        Booleans without nulls.
    """
    found = pc.or_(pc.equal(column, name), pc.starts_with(column, f"{name}{ISSUER_SEPARATOR}"))
    return pc.fill_null(found, False)


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_list(type_) or pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def _words(values: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern that finds any of the values as a word of its own, also as JSON escapes it."""
    spelled = {spelling for value in values for spelling in (value, json.dumps(value)[1:-1])}
    longest_first = sorted(spelled, key=lambda value: (-len(value), value))
    any_of = b"|".join(re.escape(value.encode()) for value in longest_first) or b"(?!)"
    return re.compile(rb"(?<![\w-])(?:" + any_of + rb")(?![\w-])")
