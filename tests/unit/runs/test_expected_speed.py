"""The time that `plan` expects: no faster than the limit of requests to a PACS allows."""

from dataclasses import replace
from typing import Any

import pytest

from diagchd_batch.images.frames import chosen_frames, n_chosen_frames
from diagchd_batch.runs import bench
from diagchd_batch.runs.plan import WORKERS_START_S, JobPreview, with_measured_speed
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.plan.stored_plan import PlanHead
from tests.unit.scoring.made_inputs import SPEC

LIMIT = "input.dicomweb.max_requests_per_second"


def preview(most_images_per_s: float | None, objects: ObjectCounts | None = None) -> JobPreview:
    names = (
        "images_per_shard n_studies n_subjects n_masks size_bytes n_excluded n_excluded_studies "
        "n_studies_without_subject n_missing n_missing_masks n_unlisted"
    )
    numbers: Any = dict.fromkeys(names.split(), 0)
    head = PlanHead(digest="", created_by="", frames="all", shards=(), n_images=1_100, objects=objects, **numbers)
    return JobPreview(
        model=SPEC,
        head=head,
        run_id=None,
        builds_on=None,
        done_shards=1,
        done_images=100,
        images_per_s=None,
        images_per_s_source=None,
        most_images_per_s=most_images_per_s,
        headers_listed_at=None,
        matches={},
    )


@pytest.mark.parametrize(
    ("most", "measured", "expected", "source"),
    [
        (10.0, 40.0, 10.0, LIMIT),
        (10.0, 4.0, 4.0, "one actor on this machine's cpu"),
        (10.0, 10.0, 10.0, "one actor on this machine's cpu"),
        (None, 40.0, 40.0, "one actor on this machine's cpu"),
    ],
)
def test_the_limit_of_requests_bounds_the_speed(
    monkeypatch: pytest.MonkeyPatch, most: float | None, measured: float, expected: float, source: str
) -> None:
    monkeypatch.setattr(bench, "measure_model", lambda model: (measured, "cpu"))
    unknown = preview(most)
    assert unknown.expected_s is None
    known = with_measured_speed(unknown)
    assert (known.images_per_s, known.images_per_s_source) == (expected, source)
    assert known.expected_s == WORKERS_START_S + 1_000 / expected
    assert replace(known, images_per_s=None, images_per_s_source=None) == unknown


def test_the_expected_time_counts_frames_where_the_index_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "measure_model", lambda model: (40.0, "cpu"))
    counts: Any = dict.fromkeys(["n_objects", "n_unreadable", "n_copies", "n_differing", "n_several_patients"], 0)
    lists: Any = {name: {} for name in ("not_planned", "left_out_images", "left_out_studies")}
    objects = ObjectCounts(**counts, **lists, n_frames=22_000, n_frame_requests=550)
    known = with_measured_speed(preview(None, objects))
    assert known.expected_s == WORKERS_START_S + 1_000 * 20 / 40.0  # 20 frames an image
    assert known.head.requests_per_image == 1.5


@pytest.mark.parametrize(
    "rule", ["all", "first", "middle", "every 1", "every 3", "every 99", "max 1", "max 4", "max 50"]
)
def test_the_number_of_chosen_frames_is_that_of_the_choice(rule: str) -> None:
    for n_frames in (1, 2, 3, 4, 7, 49, 50, 51):
        assert n_chosen_frames(rule, n_frames) == len(chosen_frames(rule, None, n_frames))


def test_what_is_done_takes_no_start() -> None:
    done = replace(preview(None), done_images=1_100, images_per_s=10.0)
    assert done.expected_s == 0
