from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.studies.plan.digest import TableDigest

SCHEMA = pa.schema([("text", pa.string()), ("number", pa.int32()), ("list", pa.list_(pa.string()))])
texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=3)
rows = st.fixed_dictionaries(
    {"text": texts, "number": st.none() | st.integers(-2, 2), "list": st.none() | st.lists(texts, max_size=2)}
)
tables = st.lists(rows, max_size=4)


def digest(*tables_of_rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> str:
    result = TableDigest()
    for table in tables_of_rows:
        result.update(pa.Table.from_pylist(table, schema))
    return result.hexdigest()


@given(tables, tables)
def test_equal_exactly_where_the_rows_are_equal(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_near_misses_differ() -> None:
    nulls = {"text": None, "number": None, "list": None}
    variants: list[list[dict[str, Any]]] = [
        [{**nulls, "text": ""}],
        [nulls],
        [{**nulls, "number": 0}],
        [{**nulls, "list": []}],
        [{**nulls, "list": [None]}],
        [{**nulls, "list": [""]}],
        [{**nulls, "text": "ab"}, {**nulls, "text": "c"}],
        [{**nulls, "text": "a"}, {**nulls, "text": "bc"}],
        [nulls, nulls],
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)
    assert digest([nulls], [nulls]) != digest([nulls, nulls])


@given(tables, st.integers(0, 4))
def test_chunks_and_offsets_of_a_table_do_not_count(one: list[dict[str, Any]], at: int) -> None:
    table = pa.Table.from_pylist(one, SCHEMA)
    padded = pa.concat_tables([pa.Table.from_pylist([{"text": "x"}], SCHEMA), table.slice(0, at), table.slice(at)])
    result = TableDigest()
    result.update(padded.slice(1))
    assert result.hexdigest() == digest(one)
