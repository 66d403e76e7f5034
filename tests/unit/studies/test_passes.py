"""A plan that is made in many passes is the plan that is made in one."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage import open_store
from diagchd_batch.studies import passes
from diagchd_batch.studies.plan.make_plan import draft_plan, freeze_plan
from diagchd_batch.studies.plan.selection import held_out_by, new_since
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.studies.scratch_database import scratch_database
from tests.unit.studies.archives import PSEUDONYMIZER, SimulatedListing
from tests.unit.studies.header_rows import batches, header

STUDIES = range(60)
LAYOUTS = {
    "tree": [f"{study}/{image}.png" for study in STUDIES for image in range(study % 3 + 1)],
    "diagchd": [f"{kind}/{study % 2}/{study}.png" for study in STUDIES for kind in ("IMAGE", "MASK")[: study % 5 + 1]],
    "manifest": [f"{study}/{image}.png" for study in STUDIES for image in range(3)] + ["mask.png", "not named.png"],
    "dicom": [],
}
MANIFEST = "study_id,subject_id,uri,frame,mask_uri,include,exclude_reason,label\n" + "".join(
    f"s{study},{f'p{study // 2}' if study % 7 else ''},{study}/{image}.png,{frame if image == 0 else ''},"
    f"{'mask.png' if image == 1 else ''},{'no' if study % 9 == image else ''},"
    f"{f'reason {frame}' if study % 9 == image else ''},{study % 2}\n"
    for study in STUDIES
    for image in range(4)  # the last one is missing
    for frame in ((3, 1, 2) if image == 0 else (None,))
)
# Some objects have copies of two sizes, and some studies name two patients.
HEADERS = [
    header(f"{study}/{image}/{copy}", f"1.2.{study}", f"1.2.{study}.{image}", size_bytes=1_000 + copy,
           patient_id=f"p{study + image % 2 * (study % 4 == 0)}", accession_number=f"a{image % 2}")
    for study in STUDIES
    for image in range(3)
    for copy in range(1 + (study % 3 == 0))
]  # fmt: skip


def heads(layout: str, directory: Path) -> list[PlanHead]:
    """Return the heads of the plan of everything, of what is new after it, and of the folds of a training."""
    directory.mkdir()
    (directory / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
    manifest = str(directory / "manifest.csv") if layout == "manifest" else None
    config = InputConfig(uri="archive", layout=layout, manifest=manifest)
    private = open_store(str(directory / "private"), owner_only=True)
    rows = HEADERS[:-20]

    class Changed(SimulatedListing):
        def list(self, *args: Any, **kwargs: Any) -> Iterator[ObjectInfo]:
            for n, info in enumerate(super().list()):
                yield replace(info, etag="new") if n % 8 == 0 else info

    listing: Any = SimulatedListing(LAYOUTS[layout])
    changed: Any = Changed(LAYOUTS[layout])
    shards = ShardsConfig(images_per_shard=5)
    first = freeze_plan(config, shards, listing, private, "first", PSEUDONYMIZER, headers=lambda: batches(rows))
    studies = sorted(row["study_id"] for row in first.studies().read_all().to_pylist())
    found = [first.head]
    for select in (new_since([first]), held_out_by({study: n % 3 for n, study in enumerate(studies)})):
        headers = (lambda: batches(HEADERS)) if layout == "dicom" else None
        with draft_plan(config, shards, changed, PSEUDONYMIZER, headers=headers, select=select) as draft:
            found.append(draft.head)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_plan_does_not_depend_on_the_number_of_passes(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one = heads(layout, tmp_path / "one")
    assert in_one[0].n_images > in_one[1].n_images > 0
    monkeypatch.setattr(passes, "ROWS_PER_PASS", 37)
    assert heads(layout, tmp_path / "many") == in_one


@pytest.mark.parametrize("limit", ["memory_limit", "max_temp_directory_size"])
def test_a_full_disk_and_too_little_memory_have_other_remedies(limit: str) -> None:
    expected = r"40 MiB of memory .* larger TMPDIR does not help" if limit == "memory_limit" else "free some space or"
    with pytest.raises(RunFault, match=expected), scratch_database(40 << 20):
        raise duckdb.OutOfMemoryException(f"Out of Memory Error: This limit was set by the '{limit}' setting.")


@pytest.mark.parametrize("n_rows", [0, 37, 38, 200, 5_000])
def test_each_value_is_in_exactly_one_pass_and_ranges_ascend(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "ROWS_PER_PASS", 37)
    tokens = [PSEUDONYMIZER.study(str(n)) for n in range(300)] + ["s-0000000000000000", "s-ffffffffffffffff"]
    for conditions in (passes.by_hash("token", n_rows), passes.by_token("token", "s", n_rows)):
        parts = [
            [value for (value,) in duckdb.execute(f"FROM (SELECT unnest(?) AS token) WHERE {one}", [tokens]).fetchall()]
            for one in conditions
        ]
        assert sorted(value for part in parts for value in part) == sorted(tokens)
    found = [part for part in parts if part]
    assert all(max(lower) < min(upper) for lower, upper in pairwise(found))
