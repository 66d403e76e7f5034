"""Verification passes an intact run, and finds and names every change to it."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.images.spacing.heart_measurements import measure_heart
from diagchd_batch.results.columns import shard_metadata, table_metadata
from diagchd_batch.results.mask_codec import decode_mask, encode_mask
from diagchd_batch.results.output import open_output
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from diagchd_batch.results.verify.findings import MAX_PROBLEMS_LISTED, REMEDIES, Problem, ProblemKind, VerifyReport
from diagchd_batch.results.verify.one_run import verify_run
from tests.unit.results.made_run import RUN_ID, MadePlan, MadeRun, copy_run, label_map, make_run, planned_image


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    return make_run(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def run(sound_run: MadeRun, tmp_path: Path) -> MadeRun:
    return copy_run(sound_run, tmp_path)


def verified(run: MadeRun) -> VerifyReport:
    return verify_run(run.storage, run.private, run.plan, RUN_ID)  # type: ignore[arg-type]


def kinds(report: VerifyReport) -> set[str]:
    return {problem.kind.value for problem in report.problems}


def test_a_sound_run_passes(run: MadeRun) -> None:
    seen: list[int] = []
    report = verify_run(run.storage, run.private, run.plan, RUN_ID, workers=2, progress=seen.append)  # type: ignore[arg-type]
    assert report.problems == []
    assert report.ok
    assert report.n_shards_checked == 3
    assert seen == [4, 8, 12]
    assert (report.counts.n_images, report.counts.n_rows) == (12, 21)
    assert (report.counts.n_ok, report.counts.n_failed) == (15, 6)
    assert report.counts.failures == {"decode_error": 3, "frame_not_found": 3}
    assert report.counts.reference_status == {"ok": 3}


def damage(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0xFF
    path.write_bytes(data)


def test_missing_shard(run: MadeRun) -> None:
    run.shard_path(1).unlink()
    report = verified(run)
    assert not report.ok
    (problem,) = [p for p in report.problems if p.kind == ProblemKind.MISSING_SHARD]
    assert problem.place == "shard 1"
    assert "4 planned images" in problem.detail


@pytest.mark.parametrize("at", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9999])
def test_one_flipped_byte_anywhere(run: MadeRun, at: float) -> None:
    damage(run.shard_path(2), at)
    report = verified(run)
    assert "shard 2" in {problem.place for problem in report.problems}
    assert kinds(report) & {"altered_shard", "unreadable_shard"}


@pytest.mark.parametrize("kept", [0, 3, 1000])
def test_cut_short(run: MadeRun, kept: int) -> None:
    path = run.shard_path(0)
    path.write_bytes(path.read_bytes()[:kept])
    assert ("unreadable_shard", "shard 0") in {(p.kind.value, p.place) for p in verified(run).problems}


def test_a_full_temporary_disk_does_not_pass_for_damage(run: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy for a damaged file is to delete it, so verify must not report an intact file as damaged."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b"))
    with pytest.raises(RunFault, match=r"temporary directory .* No space left"):
        verified(run)


def test_shards_in_each_others_place(run: MadeRun) -> None:
    first, second = run.shard_path(0), run.shard_path(1)
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    report = verified(run)
    assert {"foreign_shard", "altered_shard", "unplanned_row", "missing_image"} <= kinds(report)
    assert any("diagchd_batch.shard" in problem.detail for problem in report.problems)


@pytest.mark.parametrize("field", ["run_id", "fingerprint"])
def test_shard_of_another_run(run: MadeRun, field: str) -> None:
    identity: dict[str, Any] = {"run_id": RUN_ID, "fingerprint": "0a1b2c3d" * 8, field: "another"}
    run.rewrite_shard(1, run.rows[1], metadata=shard_metadata(table_metadata(**identity, simulated=True), 1))
    (problem,) = verified(run).problems
    assert problem.kind == ProblemKind.FOREIGN_SHARD
    assert problem.place == "shard 1"
    assert f"diagchd_batch.{field}" in problem.detail and "another" in problem.detail


def test_shard_with_rows_of_another_run(run: MadeRun) -> None:
    path = run.shard_path(1)
    table = pq.read_table(path, partitioning=None)
    other = table.set_column(0, table.schema.field("run"), pa.array(["another"] * table.num_rows))
    pq.write_table(other, path)
    kinds = {problem.kind: problem.detail for problem in verified(run).problems}
    assert kinds[ProblemKind.FOREIGN_SHARD] == "it has rows of run another"


def test_shard_nobody_planned(run: MadeRun) -> None:
    run.storage.create(output_layout.shard_file(RUN_ID, 3), run.shard_path(0).read_bytes())
    assert kinds(verified(run)) == {"unplanned_shard"}


@pytest.mark.parametrize(
    "key",
    [
        f"scores/run_id={RUN_ID}/shard-000000.parquet",
        f"scores/run_id={RUN_ID}/shard-00000 (1).parquet",
        f"scores/run_id={RUN_ID}/deeper/shard-00000.parquet",
        f"predictions/run_id={RUN_ID}/part-000000.parquet",
    ],
)
def test_copies_that_a_glob_would_read(run: MadeRun, key: str) -> None:
    """This package's readers ignore such copies, but `read_parquet('scores/**/*.parquet')` does not."""
    run.storage.create(key, run.shard_path(0).read_bytes())
    (problem,) = verified(run).problems
    assert (problem.kind, problem.place) == (ProblemKind.FOREIGN_FILE, key)
    assert open_output(run.storage.uri).scores(RUN_ID).count_rows() == 21


def test_a_plan_that_was_altered(run: MadeRun) -> None:
    run.plan.intact = False
    assert kinds(verified(run)) == {"altered_plan"}


def test_another_plan_in_place_of_the_one_that_was_scored(run: MadeRun) -> None:
    """The other plan is intact and has the same counts, but its digest is not the one in the run's record."""
    run.plan.head = run.plan.head.model_copy(update={"digest": "c" * 64})
    (problem,) = verified(run).problems
    assert problem.kind is ProblemKind.ALTERED_PLAN
    assert output_layout.private_run_record(RUN_ID) in problem.detail
    # A digest without a key would identify the archive.
    assert "c" * 16 not in str(problem) and "d" * 16 not in str(problem)


def test_the_private_record_is_missed(run: MadeRun) -> None:
    run.private.delete(output_layout.private_run_record(RUN_ID))
    assert kinds(verified(run)) == {"no_run_record"}
    run.private.replace(output_layout.private_run_record(RUN_ID), b"{")
    assert kinds(verified(run)) == {"damaged_run_record"}


def test_another_writers_file_with_the_same_rows_is_noticed(run: MadeRun) -> None:
    """The file was rewritten with other tools and has the same values. Its digest reveals it."""
    path = run.shard_path(0)
    table = pq.read_table(path)
    path.unlink()
    pq.write_table(table, path)
    assert kinds(verified(run)) == {"altered_shard"}


def without(image: int, frame: int | None) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def drop(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [r for r in rows if not (int(r["image_id"][-1]) == image and r["frame"] == frame)]

    return drop


def with_change(image: int, **changes: object) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        at = next(k for k, row in enumerate(rows) if int(row["image_id"][-1]) == image)
        return [*rows[:at], {**rows[at], **changes}, *rows[at + 1 :]]

    return change


MASK_WITH_ONE_PIXEL_MORE = label_map(100)
MASK_WITH_ONE_PIXEL_MORE[0, 0] = 2


def calibrated(**changes: object) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Give the first frame of image 0 pixels of 0.5 x 0.25 mm, its measurements in millimetres, and these changes."""

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        mask = decode_mask(next(row["mask_png"] for row in rows if int(row["image_id"][-1]) == 0))
        height, width = mask.shape
        measured = asdict(measure_heart(mask, (0.5 * 200 / height, 0.25 * 100 / width)))
        region = {"region_top": 0, "region_left": 0, "region_height": 200, "region_width": 100}
        sizes = {"spacing_status": "ok", "pixel_height_mm": 0.5, "pixel_width_mm": 0.25}
        return with_change(0, **{**region, "region_source": "tagged", **sizes, **measured, **changes})(rows)

    return change


def test_sound_millimetres_pass(run: MadeRun) -> None:
    run.rewrite_shard(1, calibrated()(run.rows[1]))
    run.path(output_layout.success_marker(RUN_ID)).unlink()
    run.finish()
    assert verified(run).problems == []


FAULTS = {
    "another area": (calibrated(heart_area_mm2=1.0), "wrong_millimetres", "frame 0"),
    "another area of the whole heart": (calibrated(whole_heart_area_mm2=None), "wrong_millimetres", "frame 0"),
    "another length": (calibrated(septum_length_mm=3.0), "wrong_millimetres", "frame 0"),
    "another size of a pixel": (calibrated(pixel_width_mm=0.26), "wrong_millimetres", "frame 0"),
    "another region": (calibrated(region_height=150), "wrong_millimetres", "frame 0"),
    "no size of a pixel": (calibrated(pixel_width_mm=None), "inconsistent_row", "frame 0"),
    "millimetres without calibration": (calibrated(spacing_status="per_frame"), "inconsistent_row", "frame 0"),
    "a distance without calibration": (
        with_change(0, spacing_status="no_regions", hd95_mm_septum=1.0),
        "inconsistent_row",
        "frame 0",
    ),
    "a row twice": (lambda rows: [*rows, rows[3]], "duplicate_row", "frame 0"),
    "a failed row twice": (lambda rows: [*rows, rows[4]], "duplicate_row", "image i-0001000000000002"),
    "no row for a file": (without(2, None), "missing_image", "i-0001000000000002"),
    "no row for a frame": (without(0, 1), "missing_frame", "i-0001000000000000"),
    "no row for a frame asked for": (without(3, 9), "missing_frame", "i-0001000000000003"),
    "a frame too many": (lambda rows: [*rows, {**rows[5], "frame": 2}], "unplanned_row", "i-0001000000000003"),
    "a frame beyond the last": (with_change(1, frame=1), "inconsistent_row", "i-0001000000000001"),
    "an image of another shard": (with_change(1, image_id="i-9"), "unplanned_row", "i-9"),
    "failed and scored": (lambda rows: [*rows, {**rows[4], "frame": 0, "source_frames": 1}], "inconsistent_row", "2"),
    "frames that disagree": (with_change(0, source_frames=4), "inconsistent_row", "i-0001000000000000"),
    "another subject": (with_change(1, subject_id="p-9"), "inconsistent_row", "i-0001000000000001"),
    "another fold": (with_change(1, fold=1), "inconsistent_row", "i-0001000000000001"),
    "an unknown code": (with_change(2, error_code="oops"), "inconsistent_row", "i-0001000000000002"),
    "failed with a score": (with_change(2, chd_probability=0.5), "inconsistent_row", "i-0001000000000002"),
    "scored without a mask": (with_change(1, mask_png=None), "inconsistent_row", "i-0001000000000001"),
    "scored with a code": (with_change(1, error_code="decode_error"), "inconsistent_row", "i-0001000000000001"),
    "another call": (lambda rows: with_change(1, chd_call=not rows[3]["chd_call"])(rows), "wrong_probability", "1"),
    "a probability over one": (with_change(1, chd_probability=1.5), "wrong_probability", "i-0001000000000001"),
    "no probability": (with_change(1, chd_probability=float("nan")), "wrong_probability", "i-0001000000000001"),
    "another mask": (with_change(0, mask_png=encode_mask(MASK_WITH_ONE_PIXEL_MORE)), "wrong_pixel_counts", "frame 0"),
    "a mask of another grid": (with_change(0, mask_png=encode_mask(label_map(1)[:9])), "damaged_mask", "frame 0"),
    "a mask with a class 3": (with_change(0, mask_png=encode_mask(label_map(1) + 1)), "damaged_mask", "frame 0"),
    "a mask that is none": (with_change(0, mask_png=b"\x89PNG"), "damaged_mask", "frame 0"),
    "another count": (with_change(0, septum_px=1), "wrong_pixel_counts", "frame 0"),
    "another intersection": (with_change(1, intersection_px_heart=0), "wrong_pixel_counts", "i-0001000000000001"),
    "no reference status": (with_change(1, reference_status=None), "inconsistent_row", "i-0001000000000001"),
    "a reference nobody planned": (with_change(0, reference_status="ok"), "inconsistent_row", "frame 0"),
    "a bad reference with values": (
        with_change(1, reference_status="mask_unreadable"),
        "inconsistent_row",
        "i-0001000000000001",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_of_a_worker_at_fault(run: MadeRun, fault: str) -> None:
    """The file is well formed, its digest is recorded and the predictions agree with it. Only its rows are wrong."""
    alter, kind, place = FAULTS[fault]
    run.rewrite_shard(1, alter(run.rows[1]))
    run.path(output_layout.success_marker(RUN_ID)).unlink()
    run.finish()
    found = verified(run).problems
    assert any(p.kind.value == kind and p.place.startswith("shard 1,") and place in p.place for p in found), found
    assert not [p for p in found if p.kind in (ProblemKind.ALTERED_SHARD, ProblemKind.PREDICTIONS_DIFFER)]


@pytest.mark.parametrize("rule, frame", [("first", 0), ("middle", 1)])
def test_frame_rules(run: MadeRun, rule: str, frame: int) -> None:
    run.plan.head = MadePlan(run.plan._shards, rule).head
    by_rule = [row for row in run.rows[0] if int(row["image_id"][-1]) != 0 or row["frame"] == frame]
    run.rewrite_shard(0, by_rule)
    places = {p.place for p in verified(run).problems if p.kind == ProblemKind.UNPLANNED_ROW}
    assert places == {f"shard {shard}, image i-000{shard}000000000000" for shard in (1, 2)}


def rewrite_predictions(run: MadeRun, alter: Callable[..., Any]) -> None:
    path = run.path(output_layout.predictions_file(RUN_ID, 0))
    table = alter(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path)


@pytest.mark.parametrize(
    "alter, place",
    [
        (lambda t: t.slice(0, t.num_rows - 1), "shard 2"),
        (lambda t: t.slice(1), "shard 0"),
        (lambda t: t.take([*range(t.num_rows), 0]), "shard 0"),
        (lambda t: t.take([1, 0, *range(2, t.num_rows)]), "shard 0"),
        (lambda t: t.filter([shard != 1 for shard in t["shard"].to_pylist()]), "shard 1"),
        (lambda t: t.set_column(t.schema.names.index("septum_px"), "septum_px", [[7] * t.num_rows]), "shard 2"),
    ],
    ids=["last row gone", "first row gone", "a row twice", "two rows swapped", "a shard gone", "other values"],
)
def test_predictions_that_are_not_the_scores(run: MadeRun, alter: Callable[..., Any], place: str) -> None:
    def as_written(table: pa.Table) -> pa.Table:
        return alter(table).cast(table.schema)

    rewrite_predictions(run, as_written)
    report = verified(run)
    assert kinds(report) == {"predictions_differ"}
    assert f"predictions of {place}" in {problem.place for problem in report.problems}


def test_predictions_gone_or_damaged(run: MadeRun) -> None:
    path = run.path(output_layout.predictions_file(RUN_ID, 0))
    path.write_bytes(path.read_bytes()[:-100])
    assert kinds(verified(run)) == {"predictions_differ"}
    path.unlink()
    assert kinds(verified(run)) == {"predictions_differ"}


def test_sources(run: MadeRun) -> None:
    sources = run.private.uri + "/" + output_layout.sources_file(RUN_ID, 1, "first")
    Path(sources).write_bytes(b"PAR1 no more")
    (problem,) = verified(run).problems
    assert (problem.kind, problem.place) == (ProblemKind.MISSING_SOURCES, "shard 1")
    Path(sources).unlink()
    (problem,) = verified(run).problems
    assert (problem.kind, problem.place) == (ProblemKind.MISSING_SOURCES, "shard 1")


def test_an_attempt_that_lost_does_not_disturb(run: MadeRun) -> None:
    run.private.create(output_layout.sources_file(RUN_ID, 1, "aaa-lost"), Path(source_of(run, 2)).read_bytes())
    assert verified(run).ok


def source_of(run: MadeRun, shard: int) -> str:
    return run.private.uri + "/" + output_layout.sources_file(RUN_ID, shard, "first")


def test_a_scored_image_whose_source_is_not_recorded(run: MadeRun) -> None:
    run.plan._shards[0][1] = planned_image(0, 1, mask_uri="masks/0.png", uri="elsewhere.png")
    (problem,) = verified(run).problems
    assert (problem.kind, problem.place) == (ProblemKind.MISSING_SOURCES, "shard 0, image i-0000000000000001")


def test_counts_of_the_run_record(run: MadeRun) -> None:
    record = read_private_run_record(run.private, RUN_ID)
    counts = record.counts.model_copy(update={"n_ok": 16, "failures": {}})
    write_run_record(run.storage, run.private, record.model_copy(update={"counts": counts}))
    details = {problem.detail for problem in verified(run).problems}
    assert {problem.kind for problem in verified(run).problems} == {ProblemKind.COUNTS_DIFFER}
    assert any("n_ok is 16" in detail and "15" in detail for detail in details) and len(details) == 2


def test_unfinished(run: MadeRun) -> None:
    run.path(output_layout.success_marker(RUN_ID)).unlink()
    assert kinds(verified(run)) == {"unfinished"}
    record = read_private_run_record(run.private, RUN_ID)
    write_run_record(run.storage, run.private, record.model_copy(update={"status": "interrupted", "counts": None}))
    report = verified(run)
    assert kinds(report) == {"unfinished"}
    assert report.counts.n_rows == 21
    run.path(output_layout.run_record(RUN_ID)).unlink()
    assert kinds(verified(run)) == {"no_run_record"}


def test_every_problem_names_its_remedy_and_the_list_stays_short(run: MadeRun) -> None:
    assert set(REMEDIES) == set(ProblemKind)
    run.shard_path(1).unlink()
    for problem in verified(run).problems:
        assert problem.remedy in str(problem)
    report = VerifyReport(RUN_ID)
    for number in range(3 * MAX_PROBLEMS_LISTED):
        report.add(Problem(ProblemKind.MISSING_SHARD, f"shard {number}", "", ""))
    assert report.n_problems == 3 * MAX_PROBLEMS_LISTED and len(report.problems) == MAX_PROBLEMS_LISTED


def test_problems_name_tokens_only(run: MadeRun) -> None:
    """A report has no file name or URI of the input, because users may share it."""
    run.rewrite_shard(1, [])
    run.plan._shards[0][1] = planned_image(0, 1, mask_uri="masks/0.png", uri="SURNAME.png")
    damage(run.shard_path(2), 0.5)
    text = "\n".join(str(problem) for problem in verified(run).problems)
    assert text
    assert "folder/" not in text and "masks/" not in text and "SURNAME" not in text
