"""The time that `plan` expects: no faster than the limit of requests to a PACS allows."""

from dataclasses import replace
from typing import Any

import pytest

from diagchd_batch.runs import bench
from diagchd_batch.runs.plan import JobPreview, with_measured_speed
from diagchd_batch.studies.plan.stored_plan import PlanHead
from tests.unit.scoring.made_inputs import SPEC

LIMIT = "input.dicomweb.max_requests_per_second"


def preview(most_images_per_s: float | None) -> JobPreview:
    names = (
        "images_per_shard n_studies n_subjects n_masks size_bytes n_excluded n_excluded_studies "
        "n_studies_without_subject n_missing n_missing_masks n_unlisted"
    )
    numbers: Any = dict.fromkeys(names.split(), 0)
    head = PlanHead(digest="", created_by="", frames="all", shards=(), n_images=1_100, **numbers)
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
    assert known.expected_s == 1_000 / expected
    assert replace(known, images_per_s=None, images_per_s_source=None) == unknown
