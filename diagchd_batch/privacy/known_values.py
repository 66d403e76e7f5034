"""Gathers every identifier that an output's private tree knows of its inputs."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.privacy.spellings import LOCATION, PATH
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.datasets import OutputTrees, committed_shards
from diagchd_batch.results.identifying_values import INCOMPLETE_KEY
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

MAX_MEMORY_BYTES = 1 << 30
"""The memory in which values are brought together before they spill to a temporary directory of the owner."""

BATCH_ROWS = 65_536

_KINDS_OF_COLUMNS = {
    "uri": PATH,
    "mask_uri": PATH,
    "source_subject_id": "subject id",
    "source_study_id": "study id",
    "fetus": "fetus",
}
_EXCLUSION_REASONS = {"exclude_reasons": "exclusion reason"}
_KINDS_IN_HEADER_INDEX = {
    "key": PATH,
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "sop_uid": "SOPInstanceUID",
    "study_date": "StudyDate",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "mother_id": "PatientMotherBirthName",
    "accession_number": "AccessionNumber",
    "series_description": "SeriesDescription",
}
_JOB_LOCATIONS = (("input", "uri"), ("input", "manifest"), ("evaluation", "reference"), ("evaluation", "readers"))
_JOB_LOCATIONS += (("evaluation", "covariates"),)


@dataclass
class KnownValues:
    """What an output's private tree knows of its inputs.

    Attributes:
        n_values: The number of different values.
        n_allowed: How many of them are of an allowed kind, and not searched.
        notes: What is not known, and therefore cannot be searched.
    """

    _database: duckdb.DuckDBPyConnection
    n_values: int = 0
    n_allowed: int = 0
    notes: list[str] = field(default_factory=list)

    def values(self, allowed: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Yield kind and value of every different value whose kind is not allowed, in a fixed order.

        Several values can have one spelling. It is then reported under the kind of the first of them.

        Args:
            allowed: The kinds that may be shown. A value that is also of another kind is yielded.
        """
        rows = self._database.sql("SELECT DISTINCT kind, value FROM known ORDER BY lower(kind), kind, value")
        for batch in rows.to_arrow_reader(BATCH_ROWS):
            for kind, value in zip(batch["kind"].to_pylist(), batch["value"].to_pylist(), strict=True):
                self.n_values += 1
                if kind in allowed:
                    self.n_allowed += 1
                else:
                    yield kind, value


@contextmanager
def known_values(output: OutputTrees) -> Iterator[KnownValues]:
    """Gather the values of an output. They are in memory and in a temporary directory of the owner, for the block.

    Args:
        output: The output.

    Raises:
        RunFault: There is too little memory or temporary disk space, or a file of the private tree cannot be read.
    """
    with memory_database(spills=True, max_memory_bytes=MAX_MEMORY_BYTES) as database:
        known = KnownValues(database)
        database.execute("CREATE TABLE known (kind VARCHAR, value VARCHAR)")
        try:
            _Gathering(output, known, database).run()
            yield known
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise RunFault(
                "the values to search for do not fit in the memory and in the temporary directory; point TMPDIR at a "
                f"larger disk ({type(error).__name__})"
            ) from error


class _Gathering:
    """Reads the private tree once and fills the table `known`."""

    def __init__(self, output: OutputTrees, known: KnownValues, database: duckdb.DuckDBPyConnection) -> None:
        self._output, self._private = output, output.private
        self._known, self._database = known, database
        self._with_headers: set[str] = set()
        self._n_incomplete = 0

    def run(self) -> None:
        """Fill the table, and note what is not there."""
        for tree in ("", output_layout.TRAINING_TREE_PREFIX):
            self._plans_and_headers(tree)
        for info in self._private.list(output_layout.HEADER_INDEX_PREFIX):
            if output_layout.HEADER_INDEX_PART.fullmatch(info.key):
                with suppress(RunFault):  # a damaged part of the index is read again from the archive
                    self._columns(_opened(self._private, info.key), _KINDS_IN_HEADER_INDEX)
        run_ids = sorted({*self._output.run_ids(), *self._output.planned_run_ids()})
        if run_ids and not self._output.planned_run_ids():
            raise RunFault(
                f"{self._private.uri} is not the private tree of this output, so nothing is known to search for; say "
                "where that lies with --private-uri"
            )
        for run_id in run_ids:
            self._names(run_id)
            self._job(run_id)
        self._note_what_is_missing(run_ids)

    def _plans_and_headers(self, tree: str) -> None:
        """Add what the plans and the headers of runs say, or of trainings, whose tree has the same layout."""
        for info in self._private.list(tree + output_layout.RUNS_PREFIX):
            key = info.key.removeprefix(tree)
            if match := output_layout.IDENTIFYING_VALUES_FILE.fullmatch(key):
                self._with_headers.add(match["run_id"])
                self._headers(info.key)
            elif output_layout.PLAN_PART.fullmatch(key):
                self._columns(_opened(self._private, info.key), _KINDS_OF_COLUMNS)
            elif match := output_layout.PLAN_STUDIES.fullmatch(key):
                file = _opened(self._private, info.key)
                self._columns(file, _KINDS_OF_COLUMNS)
                # The evaluation may show reasons, and then says which it does not show.
                if not self._has_names(match["run_id"]):
                    self._columns(file, _EXCLUSION_REASONS)

    def _headers(self, key: str) -> None:
        file = _opened(self._private, key)
        self._n_incomplete += int((file.schema_arrow.metadata or {}).get(INCOMPLETE_KEY, b"0"))
        for batch in file.iter_batches(BATCH_ROWS, columns=["kind", "value"]):
            self._insert(batch)

    def _columns(self, file: pq.ParquetFile, kinds: dict[str, str]) -> None:
        for column in kinds.keys() & set(file.schema_arrow.names):
            for batch in file.iter_batches(BATCH_ROWS, columns=[column]):
                values = batch.column(0)
                if pa.types.is_date(values.type):
                    values = pc.strftime(values, "%Y%m%d")  # as DICOM writes it
                self._add(kinds[column], values.flatten() if pa.types.is_list(values.type) else values)

    def _has_names(self, run_id: str) -> bool:
        suffixes = (output_layout.PRIVATE_TABLE_SUFFIX, output_layout.PRIVATE_TABLE_SUFFIX_V1)
        keys = (output_layout.private_evaluation_file(run_id, "names", suffix) for suffix in suffixes)
        return any(self._private.stat(key) is not None for key in keys)

    def _names(self, run_id: str) -> None:
        """Add the own names of readers and covariates that tables replace, and ids that match no study."""
        suffixes = (output_layout.PRIVATE_TABLE_SUFFIX, output_layout.PRIVATE_TABLE_SUFFIX_V1)
        for suffix in suffixes:
            for row in _rows(self._private, output_layout.private_evaluation_file(run_id, "names", suffix)):
                if row["own_name"] != row["name_in_tables"]:
                    self._add(f"{row['kind']} name", pa.array([row["own_name"]]))
            for row in _rows(self._private, output_layout.private_evaluation_file(run_id, "unmatched", suffix)):
                self._add("study id", pa.array([row["id"]]))

    def _job(self, run_id: str) -> None:
        try:
            record = read_private_run_record(self._private, run_id)
        except DamagedRecordError:
            record = None
        if record is None:
            self._known.notes.append(f"run {run_id} has no record in the private tree that says where its input lies")
            return
        for section, name in _JOB_LOCATIONS:
            if location := (record.full_config.get(section) or {}).get(name):
                self._add(LOCATION, pa.array([str(location)]))

    def _note_what_is_missing(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            if run_id not in self._with_headers and committed_shards(self._output.storage, run_id):
                self._known.notes.append(
                    f"run {run_id} was scored by a version that kept no values of headers, so only names of files, ids "
                    "and names of readers are known of it"
                )
        if self._n_incomplete:
            self._known.notes.append(
                f"not all values of {counted(self._n_incomplete, 'file')} are known: they could not be opened, are "
                "damaged, or hold too many values"
            )

    def _add(self, kind: str, values: pa.Array) -> None:
        kinds = pa.array([kind] * len(values), pa.string())
        self._insert(pa.record_batch({"kind": kinds, "value": values.cast(pa.string())}))

    def _insert(self, rows: pa.RecordBatch) -> None:
        self._database.register("new_rows", rows)
        self._database.execute("INSERT INTO known SELECT DISTINCT kind, value FROM new_rows WHERE value IS NOT NULL")
        self._database.unregister("new_rows")


def _opened(private: Store, key: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(io.BytesIO(private.read(key)), pre_buffer=False)
    except (ItemError, pa.ArrowException) as error:
        raise RunFault(
            f"{key} of the private tree cannot be read, so its values cannot be searched for: restore it from a backup"
        ) from error


def _rows(private: Store, key: str) -> list[dict[str, Any]]:
    return [] if private.stat(key) is None else _opened(private, key).read(use_threads=False).to_pylist()
