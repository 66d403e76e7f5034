"""`index`, the view `headers` of `query`, and what a deletion takes out of the index."""

import json
from pathlib import Path

import pytest

from diagchd_batch.results.deletion.file_kinds import kind_of_private_file
from diagchd_batch.results.deletion.indexed_headers import find_in_index
from diagchd_batch.results.deletion.subject_search import Subject
from diagchd_batch.runs.index import IndexMessages
from diagchd_batch.sources import open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.header_index.read_many import threaded_reader
from diagchd_batch.studies.header_index.stored_index import stored_headers
from diagchd_batch.studies.header_index.update_index import update_index
from tests.support.command_line import diagchd_batch
from tests.support.dicom_archives import dicom_file, ultrasound_header, write_archive

N_FILES = 20


@pytest.fixture
def job(tmp_path: Path) -> Path:
    write_archive(tmp_path / "archive", N_FILES)
    text = f"""
        version: 1
        input: {{uri: {tmp_path / "archive"}, layout: tree}}
        model: {{name: diagchd-compact}}
        output: {{uri: {tmp_path / "out"}}}
    """
    (tmp_path / "job.yaml").write_text(text)
    return tmp_path / "job.yaml"


def test_the_command_makes_the_index_and_the_next_one_reads_nothing(job: Path) -> None:
    first = diagchd_batch("index", str(job), "--json")
    assert first.exit_code == 0, first.messages
    found = json.loads(first.printed)
    assert (found["n_objects"], found["n_read"], found["kinds"]) == (N_FILES, N_FILES, {"image": N_FILES})
    assert f"index: {N_FILES} headers to read" in first.messages
    again = diagchd_batch("index", str(job))
    assert again.exit_code == 0
    assert "headers read  0 in" in again.printed
    assert "PATIENT" not in first.messages + again.messages


def test_headers_that_cannot_be_read_are_told_by_the_exit_code(job: Path) -> None:
    (job.parent / "archive" / "cut.dcm").write_bytes(dicom_file(ultrasound_header(1))[:200])
    ended = diagchd_batch("index", str(job), "--json")
    assert ended.exit_code == 3
    assert json.loads(ended.printed)["kinds"] == {"image": N_FILES, "unreadable": 1}


def test_query_answers_from_the_index_before_any_run(job: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    diagchd_batch("index", str(job))
    sql = "SELECT count(DISTINCT study_uid) AS studies, max(rows) AS rows, max(columns) AS columns FROM headers"
    ended = diagchd_batch("query", out, sql, "--private", "--format", "json")
    assert ended.exit_code == 0, ended.messages
    assert json.loads(ended.printed) == [{"studies": N_FILES, "rows": 2, "columns": 2}]
    shown = diagchd_batch("query", "--columns", "headers").printed
    assert "mother_id" in shown and "(0010,1060)" in shown
    assert not list((tmp_path / "out").glob("**/*.parquet"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM headers",
        "SELECT patient_id FROM Headers",
        'SELECT * FROM "headers"',
        "WITH h AS (SELECT * FROM headers) SELECT count(*) FROM h",
        "DESCRIBE headers",
        "SUMMARIZE headers",
        "SELECT 1 WHERE EXISTS (FROM headers)",
    ],
)
def test_headers_are_read_only_with_private(job: Path, tmp_path: Path, sql: str) -> None:
    out = str(tmp_path / "out")
    diagchd_batch("index", str(job))
    ended = diagchd_batch("query", out, sql)
    assert (ended.exit_code, ended.printed) == (2, "")
    assert "the view headers names patients; add --private" in ended.messages
    assert diagchd_batch("query", out, sql, "--private").exit_code == 0
    assert diagchd_batch("query", out, "SELECT 1 AS headers").exit_code == 0


def test_an_output_without_index_and_run_holds_nothing_to_query(job: Path, tmp_path: Path) -> None:
    ended = diagchd_batch("query", str(tmp_path / "out"), "SELECT * FROM headers")
    assert ended.exit_code == 2
    assert "holds no run" in ended.messages


def test_progress_tells_rate_and_remaining_time() -> None:
    said: list[str] = []
    progress = IndexMessages(said.append, interval_s=0)
    progress.listed(1000)
    progress.reading(0, 1000)
    progress.reading(250, 1000)
    assert said[:2] == ["index: 1,000 objects listed", "index: 1,000 headers to read"]
    assert said[2].startswith("index: 250 of 1,000 headers read · ")
    assert "headers/s · remaining" in said[2]


def test_the_number_of_listed_objects_is_completed() -> None:
    said: list[str] = []
    progress = IndexMessages(said.append, interval_s=0)
    progress.listed(1000)
    progress._interval_s = 100
    progress.listed(1046)
    progress.reading(0, 7)
    assert said == ["index: 1,000 objects listed", "index: 1,046 objects listed", "index: 7 headers to read"]


def test_a_subject_has_all_rows_of_its_studies_and_of_its_patient(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write_archive(archive, 10)
    for name, changes in {
        "report.dcm": {"StudyInstanceUID": "1.2.1.3", "PatientID": "typed otherwise"},
        "other-study.dcm": {"PatientID": "PATIENT-3"},
        "namesake.dcm": {"PatientID": "PATIENT-3", "IssuerOfPatientID": "another hospital"},
    }.items():
        (archive / name).write_bytes(dicom_file(ultrasound_header(900, **changes)))
    private = open_store(str(tmp_path / "private"), owner_only=True)
    source = open_source(str(archive))
    update_index(source, private, threaded_reader(source), IndexMessages(lambda text: None))
    subject = Subject({"study_id": frozenset()}, frozenset({"own-id"}), frozenset({"3/00003.dcm"}))
    rows = stored_headers(private).to_table()
    found = rows.filter(find_in_index(private, subject).rows(rows))["key"].to_pylist()
    assert sorted(found) == ["3/00003.dcm", "other-study.dcm", "report.dcm"]
    assert kind_of_private_file(stored_headers(private).files[0].partition("private/")[2]) == "other"
