"""The search for canaries finds what it should. Otherwise its result "nothing found" would mean nothing."""

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.checkers.canaries import MARK, Search, canary


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_a_canary_is_found_in_every_form(before: str) -> None:
    text = f"{before}{canary('study', 7)} and more"
    search = Search([MARK])
    forms = [text.encode(), text.upper().encode(), text.encode("utf-16"), text.encode().hex().encode()]
    for data in (*forms, base64.b64encode(text.encode())):
        assert search.in_bytes(b"\0\1" + data + b"\2")
    assert not search.in_bytes(b"qzv7 canary, and nothing else")


def test_a_canary_is_found_in_compressed_columns_metadata_and_names(tmp_path: Path) -> None:
    table = pa.table({"lists": [["nothing"], [canary("id")]] * 500, "n": [1, 2] * 500})
    pq.write_table(table, tmp_path / "column.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    pq.write_table(table.select(["n"]).replace_schema_metadata({"by": canary("x")}), tmp_path / "metadata.parquet")
    (tmp_path / canary("file")).touch()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "allowed").write_text(canary("id"))
    found = list(Search([MARK]).in_tree(tmp_path, tmp_path / "private"))
    assert {line.partition(":")[0] for line in found} == {
        "column.parquet",
        "metadata.parquet",
        f"the name {canary('file')}",
    }
