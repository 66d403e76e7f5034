"""`config schema` describes every block and every key of the job file."""

from collections.abc import Iterator
from datetime import date
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from diagchd_batch.config.job_file import DateRange, InputConfig, JobConfig
from diagchd_batch.config.section import Section


def _blocks_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _blocks_in(argument)


def _all_blocks(block: type[Section]) -> set[type[Section]]:
    inner = {found for field in block.model_fields.values() for found in _blocks_in(field.annotation)}
    return {block}.union(*(_all_blocks(found) for found in inner))


BLOCKS = sorted(_all_blocks(JobConfig), key=lambda block: block.__name__)


def test_all_blocks_are_found() -> None:
    defined = {block for block in Section.__subclasses__() if block.__module__.startswith("diagchd_batch.config.")}
    assert set(BLOCKS) == defined


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_the_schema_describes_every_block_and_every_key(block: type[Section]) -> None:
    schema = block.model_json_schema()
    assert schema.get("description")
    assert [key for key, value in schema["properties"].items() if not value.get("description")] == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({}, "input.filter holds no filter; give one of modality, "),
        ({"modality": []}, "at least 1 item"),
        ({"modality": [" "]}, "should match pattern"),
        ({"modality": "US"}, "valid list"),
        ({"maker": ["GE"]}, "Extra inputs"),
        ({"study_date": {}}, "study_date needs first, last or both"),
        ({"study_date": {"first": "2020-02-01", "last": "2020-01-31"}}, "is before first"),
        ({"study_date": {"first": "2020-02-31"}}, "day"),
        ({"study_date": {"first": "01.02.2020"}}, "write a date as 2019-12-31"),
        ({"study_date": {"first": 1234}}, "write a date as 2019-12-31"),
        ({"study_date": {"first": 1.5}}, "write a date as 2019-12-31"),
        ({"number_of_frames": {}}, "keeps everything"),
        ({"number_of_frames": {"min": 3, "max": 2}}, r"number_of_frames.max \(2\) is below min \(3\)"),
        ({"number_of_frames": {"min": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InputConfig.model_validate({"uri": "in", "layout": "dicom", "filter": filters})


def test_a_filter_needs_layout_dicom() -> None:
    filters = {"modality": ["US"], "study_date": {"first": date(2020, 1, 1), "last": 20201231}}
    found = InputConfig.model_validate({"uri": "in", "layout": "dicom", "filter": filters})
    assert found.filter is not None
    assert found.filter.study_date == DateRange(first=date(2020, 1, 1), last=date(2020, 12, 31))
    assert InputConfig.model_validate(found.model_dump(mode="json")) == found
    with pytest.raises(ValidationError, match=r"input\.filter needs layout: dicom, because layout tree reads no"):
        InputConfig.model_validate({"uri": "in", "layout": "tree", "filter": filters})
