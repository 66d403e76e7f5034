"""`show` names the file, the digests, the run, the lineage and the exclusions of an image, a study or a subject."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.results import open_output
from diagchd_batch.runs.show import show
from diagchd_batch.scoring.driver.lineage_selection import failed_in
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy
from tests.unit.results.made_lineage import MadeLineage

KEPT = Path(__file__).parents[2] / "data" / "output_f4f89d0"
OUTPUT = KEPT / "output"
BROKEN = "images/study-00005-2.png"


def asked(*arguments: str) -> dict[str, Any]:
    ended = diagchd_batch("show", *arguments, "--json")
    assert ended.exit_code == 0, ended.messages
    return json.loads(ended.printed)


def test_a_failed_file_is_shown_with_all_that_an_audit_asks_for() -> None:
    shown = asked(str(OUTPUT), BROKEN)
    assert [(result["run_id"], result["uri"]) for result in shown["results"]] == [("first", BROKEN), ("other", BROKEN)]
    first, other = shown["results"]
    assert first["source"]["sha256"] == hashlib.sha256((KEPT / "archive" / BROKEN).read_bytes()).hexdigest()
    assert first["source"]["error"] == "decode_error: OSError: image file is truncated"
    assert "fetch it again" in first["remedy"]
    assert (first["current_in"], first["superseded_in"]) == (["second"], [])
    assert (other["current_in"], other["superseded_in"]) == (["other"], [])
    assert [run["run_id"] for run in shown["runs"]] == ["first", "other"]
    record = json.loads((OUTPUT / "runs/run_id=first/run.json").read_text())
    assert shown["runs"][0]["weights_digest"] == record["model"]["weights_digest"]
    assert shown["runs"][0]["versions"] == record["versions"]
    (study, _) = shown["studies"]
    assert (study["source_study_id"], study["source_subject_id"], study["label"]) == ("study-00005", "subject-00010", 0)
    assert {row["status"] for row in shown["evaluations"]} == {"analysed"}


def test_a_run_s_versions_are_printed_once_each() -> None:
    printed = diagchd_batch("show", str(OUTPUT), BROKEN).printed
    lines = [line for line in printed.splitlines() if line.startswith("versions")]
    assert lines and all(line.count("diagchd-batch ") == 1 for line in lines)


def test_every_name_of_a_thing_gives_the_same_answer_as_its_token() -> None:
    by_file = asked(str(OUTPUT), "study-00005-2.png")
    values = by_file["results"][0]["values"]
    assert by_file == asked(str(OUTPUT), BROKEN) == asked(str(OUTPUT), values["image_id"])
    by_study, by_subject = asked(str(OUTPUT), "study-00005"), asked(str(OUTPUT), "subject-00010")
    assert by_study == asked(str(OUTPUT), values["study_id"])
    assert by_subject == asked(str(OUTPUT), values["subject_id"])
    assert {result["values"]["study_id"] for result in by_study["results"]} == {values["study_id"]}
    assert len(by_subject["results"]) >= len(by_study["results"]) > len(by_file["results"])


def test_one_run_is_shown_alone() -> None:
    shown = asked(str(OUTPUT), "study-00005", "--run-id", "other")
    named = [*shown["results"], *shown["studies"], *shown["runs"], *shown["evaluations"]]
    assert {one["run_id"] for one in named} == {"other"}


def test_the_text_has_the_same_facts() -> None:
    ended = diagchd_batch("show", str(OUTPUT), BROKEN, "--run-id", "first")
    for fact in (BROKEN, "current in that of run second", "image file is truncated", "subject-00010", "0 (normal)"):
        assert fact in ended.printed
    assert "names of files and own ids" in ended.messages


def test_without_the_private_tree_tokens_are_shown_and_names_are_refused(tmp_path: Path) -> None:
    shutil.copytree(OUTPUT, tmp_path / "output", ignore=shutil.ignore_patterns("private"))
    uri = str(tmp_path / "output")
    token = asked(str(OUTPUT), BROKEN)["results"][0]["values"]["image_id"]
    ended = diagchd_batch("show", uri, token)
    assert ended.exit_code == 0
    assert "the private tree is not at hand" in ended.printed
    assert BROKEN not in ended.printed and "SHA-256" not in ended.printed and ended.messages == ""
    refused = diagchd_batch("show", uri, BROKEN)
    assert refused.exit_code == 2
    assert "--private-uri" in refused.messages


@pytest.mark.parametrize("name", ["s-0123456789abcdef", "no-such-study", "i-1"])
def test_what_is_not_there_is_refused(name: str) -> None:
    ended = diagchd_batch("show", str(OUTPUT), name)
    assert (ended.exit_code, ended.printed) == (2, "")
    assert name in ended.messages


def test_a_row_that_a_later_run_replaces_is_superseded(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    made.add_files("a/1.png", "b/2.png")
    made.run(broken=("a/1.png",))
    made.run(select=failed_in([made.output.predictions("run-1")], made.plans))
    shown = show(made.output, "a/1.png")
    assert [(result.run_id, result.values["status"]) for result in shown.results] == [
        ("run-1", "failed"),
        ("run-2", "ok"),
    ]
    failed, scored = shown.results
    assert (failed.current_in, failed.superseded_in) == ([], ["run-2"])
    assert (scored.current_in, scored.superseded_in) == (["run-2"], [])
    (untouched,) = show(made.output, "b/2.png").results
    assert (untouched.current_in, untouched.superseded_in) == (["run-2"], [])


def test_an_excluded_study_is_shown_although_it_has_no_result(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.2], [FAILED]], 0), MadeStudy("withdrawn", exclude_reason="consent withdrawn")])
    shown = show(open_output(made.output.uri), "withdrawn")
    assert [(study.run_id, study.exclude_reasons) for study in shown.studies] == [(RUN_ID, ["consent withdrawn"])]
    assert shown.results == []
    printed = diagchd_batch("show", made.output.uri, "withdrawn").printed
    assert "consent withdrawn" in printed and "no result" in printed
