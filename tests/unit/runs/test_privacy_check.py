"""What a run allows to be shown counts, outputs of earlier versions can be checked, and submit ends with 1."""

import io
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.runs import submit
from diagchd_batch.runs.privacy_check import check_output
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.liveness.progress_events import RunProgress
from diagchd_batch.studies.header_index.header_columns import HEADERS
from tests.unit.results.made_scored_output import MadeScoredOutput

KEPT_V1 = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output"
STUDY = "visit-of-Ypsilanti"


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """Return an output on a machine on which no Ray runs."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    made = MadeScoredOutput(tmp_path / "made", [(STUDY, "", 1)])
    made.root.mkdir()
    made.run("first")
    yield made.output


def _plant(output: Output, text: str) -> None:
    output.storage.replace("runs/run_id=first/note.txt", text.encode())


def test_the_newest_run_says_what_may_be_shown(output: Output) -> None:
    _plant(output, STUDY)
    assert not check_output(output).ok
    record = read_private_run_record(output.private, "first")
    assert record is not None
    allowing = record.model_copy(update={"full_config": {"privacy": {"allowed": ["study id", "file name"]}}})
    allowing.write(output.private, output_layout.private_run_record("first"))
    assert check_output(output, also_allowed=["directory name"]).ok
    assert not check_output(output, allowed=[]).ok


@pytest.mark.parametrize("value", ["MRN-778899", "20231224", "1.2.276.0.99887766", "clinic-7788"])
def test_the_index_of_headers_is_searched_for(output: Output, value: str) -> None:
    row = dict.fromkeys(HEADERS.names) | {
        "key": "clinic-7788/IM0001",
        "kind": "image",
        "patient_id": "MRN-778899",
        "study_uid": "1.2.276.0.99887766",
        "study_date": date(2023, 12, 24),
    }
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=HEADERS), file)
    output.private.replace(output_layout.header_index_part("0123456789abcdef", 0), file.getvalue())
    assert check_output(output).ok
    _plant(output, f"seen: {value}")
    assert not check_output(output).ok


def test_an_output_of_an_earlier_version_can_be_checked(output: Output, tmp_path: Path) -> None:
    shutil.copytree(KEPT_V1, tmp_path / "old")
    report = check_output(open_output(str(tmp_path / "old")))
    assert report.ok, report.findings
    assert report.n_searched > 0
    assert any("kept no values of headers" in note for note in report.notes)


def test_submit_ends_with_1_and_names_places_if_it_finds_an_identifier(output: Output) -> None:
    config = JobConfig.model_validate(
        {
            "input": {"uri": "archive", "layout": "tree"},
            "output": {"uri": output.storage.uri, "privacy_check": True},
        }
    )
    record = read_private_run_record(output.private, "first")
    assert record is not None and record.counts is not None
    outcome = RunOutcome("first", ExitCode.DONE, record.counts)
    lines: list[str] = []
    progress = cast(RunProgress, SimpleNamespace(message=lines.append))
    assert submit._after_privacy_check(config, {}, outcome, progress) == outcome
    _plant(output, STUDY)
    ended = submit._after_privacy_check(config, {}, outcome, progress)
    assert ended.exit_code == ExitCode.FAILED and ended.counts == record.counts
    assert any("study id: runs/run_id=first/note.txt: line 1" in line for line in lines)
    assert STUDY not in "".join(lines)
