"""The current rows of a lineage in the view `current` and in the evaluation equal those found with pandas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.database import CohortDatabase, RunTables
from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES
from tests.unit.results.made_lineage import MadeLineage
from tests.unit.results.made_run import MadePlan, run_record

IMAGES = [f"i-{number:016x}" for number in range(3)]

# A run's result for an image: None if the file failed, otherwise whether each frame was scored.
image_results = st.one_of(st.none(), st.dictionaries(st.integers(0, 2), st.booleans(), min_size=1))
lineages = st.lists(st.dictionaries(st.sampled_from(IMAGES), image_results, min_size=1), min_size=1, max_size=4)


def _rows(images: dict[str, Any], generation: int) -> list[dict[str, Any]]:
    rows = []
    for image_id, frames in images.items():
        for frame, ok in {None: False}.items() if frames is None else frames.items():
            row = {"subject_id": "p-1", "study_id": image_id.replace("i", "s"), "image_id": image_id, "shard": 0}
            score = {"status": "ok", "chd_probability": (generation + 1) / 8} if ok else {}
            rows.append({**row, "frame": frame, "status": "failed", **score, "error_code": None if ok else "too_large"})
    return rows


def _expected(runs: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Return (image, frame, generation) of the current rows."""
    rows = pd.DataFrame(
        [{**row, "generation": place} for place, images in enumerate(runs) for row in _rows(images, place)]
    )
    rows["ok"] = rows["status"] == "ok"
    rows["frame"] = rows["frame"].astype("Int64").fillna(-1)
    rows["image_ok"] = rows.groupby("image_id")["ok"].transform("any")
    rows = rows[~(rows["image_ok"] & (rows["frame"] == -1))]
    rows = rows.sort_values(["ok", "generation"]).drop_duplicates(["image_id", "frame"], keep="last")
    return set(rows[["image_id", "frame", "generation"]].itertuples(index=False, name=None))


def _found(rows: list[dict[str, Any]], generation_of: Callable[[dict[str, Any]], int]) -> set[tuple[Any, ...]]:
    found = [(row["image_id"], -1 if row["frame"] is None else row["frame"], generation_of(row)) for row in rows]
    assert len(set(found)) == len(found)
    return set(found)


@settings(deadline=None, max_examples=6)
@given(runs=lineages)
def test_the_view_current_takes_the_latest_ok_by_lineage_order(
    runs: list[dict[str, dict[int, bool] | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = MadeLineage(tmp_path_factory.mktemp("lineage"))
    # The order of ids and times differs from the order of the lineage.
    names = [f"run-{9 - place}" for place in range(len(runs))]
    for place, images in enumerate(runs):
        parent = names[place - 1] if place else None
        record = run_record(MadePlan([]), run_id=names[place], parent_run_id=parent)
        write_run_record(made.output.storage, made.output.private, record)
        made.write_predictions(names[place], _rows(images, place))
    rows = made.output.current_predictions().to_pylist()
    assert {row["lineage"] for row in rows} == {names[-1]}
    assert _found(rows, lambda row: names.index(row["run_id"])) == _expected(runs)
    for place, name in enumerate(names):  # The state of a lineage at any of its runs can be read.
        earlier = made.output.current_predictions(name).to_pylist()
        assert _found(earlier, lambda row: names.index(row["run_id"])) == _expected(runs[: place + 1])


@settings(deadline=None, max_examples=12)
@given(runs=lineages)
def test_the_evaluation_takes_the_same_rows(runs: list[dict[str, dict[int, bool] | None]]) -> None:
    tables = []
    for place, images in enumerate(runs):
        studies = [
            {"subject_id": "p-1", "study_id": name.replace("i", "s"), "source_study_id": name, "n_images": 1}
            | {"exclude_reasons": []}
            for name in images
        ]
        planned = pa.Table.from_pylist(studies, PLAN_STUDIES).to_reader()
        tables.append(
            RunTables(f"run-{place}", ds.dataset(pa.Table.from_pylist(_rows(images, place), PREDICTIONS)), planned)
        )
    with CohortDatabase() as database:
        database.load(tables)
        rows = database.rows("SELECT image_id, frame, chd_probability FROM frames")
    expected = {
        (image_id, frame, None if not _is_ok(runs, image_id, frame, place) else (place + 1) / 8)
        for image_id, frame, place in _expected(runs)
    }
    assert _found(rows, lambda row: row["chd_probability"]) == expected


def _is_ok(runs: list[dict[str, Any]], image_id: str, frame: int, generation: int) -> bool:
    return frame >= 0 and runs[generation][image_id][frame]


def test_an_output_without_a_lineage_is_named_and_its_views_are_empty(tmp_path: Path) -> None:
    output = Output(open_store(str(tmp_path)), open_store(str(tmp_path / "private")))
    with pytest.raises(UsageError, match="holds no run"):
        output.current_predictions()
    assert open_query(output, {}).table("FROM current").num_rows == 0
