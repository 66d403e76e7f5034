"""`config schema` describes every block and every key of the job file."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from diagchd_batch.config.job_file import (
    JobConfig,
    Section,
)


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
    defined = {block for block in Section.__subclasses__() if block.__module__ == Section.__module__}
    assert set(BLOCKS) == defined


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_the_schema_describes_every_block_and_every_key(block: type[Section]) -> None:
    schema = block.model_json_schema()
    assert schema.get("description")
    assert [key for key, value in schema["properties"].items() if not value.get("description")] == []
