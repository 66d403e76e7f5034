"""The images that a run plans if it builds on earlier runs."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.scoring.driver.lineage_selection import failed_in
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.plan.make_plan import count_new_images, draft_plan, freeze_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.selection import Select, new_since
from diagchd_batch.studies.plan.stored_plan import Plan
from tests.unit.studies.archives import PSEUDONYMIZER, Archive


class Planner:
    """Plans an archive repeatedly. Each plan builds on the earlier ones."""

    def __init__(self, config: InputConfig, private: Store) -> None:
        self.config = config
        self.private = private
        self.plans: list[Plan] = []

    def plan(self, select: Select | None = None) -> list[Any]:
        """Plan the next run and return its images."""
        run_id = f"run-{len(self.plans) + 1}"
        storage = open_store(self.config.uri)
        plan = freeze_plan(
            self.config, ShardsConfig(images_per_shard=2), storage, self.private, run_id, PSEUDONYMIZER, select=select
        )
        self.plans.append(plan)
        return [image for shard in plan.shards() for image in plan.read_shard(shard)]

    def plan_new(self) -> list[Any]:
        expected = count_new_images(self.config, open_store(self.config.uri), self.plans, PSEUDONYMIZER)
        planned = self.plan(new_since(self.plans))
        assert len(planned) == expected
        return planned

    def studies(self) -> dict[str, Any]:
        """Return the studies of the newest plan by their identifier."""
        return {row["source_study_id"]: row for row in self.plans[-1].studies().read_all().to_pylist()}


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "private"), owner_only=True)


def uris(images: Iterable[PlannedImage]) -> list[str]:
    return sorted(image.uri for image in images)


def test_new_files_and_changed_ones_are_planned_and_nothing_twice(archive: Archive, private: Store) -> None:
    archive.add_files("a/1.png", "a/2.png", "b/1.png", "c/1.png")
    planner = Planner(archive.config(), private)
    assert len(planner.plan()) == 4
    archive.add_files("d/1.png", "a/3.png").add_files("b/1.png", data=b"other bytes")
    (archive.root / "c/1.png").unlink()
    assert uris(planner.plan_new()) == ["a/3.png", "b/1.png", "d/1.png"]
    assert {study: row["n_images"] for study, row in planner.studies().items()} == {"a": 3, "b": 1, "d": 1}
    assert planner.plan_new() == []
    assert planner.studies() == {}


def test_a_file_of_the_same_size_with_another_modification_time_is_new(archive: Archive, private: Store) -> None:
    archive.add_files("a/1.png", "b/1.png")
    planner = Planner(archive.config(), private)
    planner.plan()
    os.utime(archive.root / "a/1.png", (1, 1))
    assert uris(planner.plan_new()) == ["a/1.png"]


def test_a_file_that_is_put_back_as_it_once_was_is_scored_once_more(archive: Archive, private: Store) -> None:
    """The latest score of the file in the lineage was computed from the content in between."""
    archive.add_files("a/1.png")
    path = archive.root / "a/1.png"
    before, times = path.read_bytes(), path.stat().st_mtime_ns
    planner = Planner(archive.config(), private)
    planner.plan()
    path.write_bytes(b"in between")
    assert len(planner.plan_new()) == 1
    path.write_bytes(before)
    os.utime(path, ns=(times, times))
    assert len(planner.plan_new()) == 1
    assert planner.plan_new() == []


def test_missing_files_are_new_when_they_arrive_and_masks_count(archive: Archive, private: Store) -> None:
    archive.add_files("a.png", "b.png", "m/b.png")
    rows = "study_id,uri,mask_uri\n1,a.png,\n2,b.png,m/b.png\n3,later.png,\n"
    planner = Planner(archive.config(archive.write_table(rows)), private)
    planner.plan()
    assert planner.plan_new() == []
    archive.add_files("later.png").add_files("m/b.png", data=b"drawn again")
    assert uris(planner.plan_new()) == ["b.png", "later.png"]


def test_of_known_files_only_the_frames_that_were_not_asked_for_before_are_planned(
    archive: Archive, private: Store
) -> None:
    archive.add_files("a.png", "b.png", "c.png")
    path = archive.write_table("study_id,uri,frame\n1,a.png,1\n1,a.png,5\n2,b.png,\n3,c.png,2\n")
    planner = Planner(archive.config(path), private)
    planner.plan()
    archive.write_table("study_id,uri,frame\n1,a.png,1\n1,a.png,7\n1,a.png,5\n2,b.png,3\n3,c.png,\n")
    assert {image.uri: image.frames for image in planner.plan_new()} == {"a.png": (7,), "b.png": (3,), "c.png": None}
    archive.write_table("study_id,uri,frame\n1,a.png,7\n1,a.png,8\n1,a.png,1\n2,b.png,\n3,c.png,2\n")
    assert {image.uri: image.frames for image in planner.plan_new()} == {"a.png": (8,)}


def test_the_plans_of_a_lineage_hold_the_latest_word_on_each_study(archive: Archive, private: Store) -> None:
    archive.add_files("a.png", "b.png", "c.png")
    path = archive.write_table("study_id,uri,label,include\n1,a.png,,\n2,b.png,0,\n3,c.png,1,\n")
    planner = Planner(archive.config(path), private)
    planner.plan()
    archive.write_table("study_id,uri,label,include\n1,a.png,1,\n2,b.png,0,\n3,c.png,1,0\n")
    assert planner.plan_new() == []
    found = {study: (row["label"], row["n_images"]) for study, row in planner.studies().items()}
    assert found == {"1": (1, 1), "3": (1, 0)}  # study 1 was labelled and study 3 excluded; study 2 did not change


def test_a_file_given_to_another_study_is_scored_again(archive: Archive, private: Store) -> None:
    archive.add_files("a.png", "b.png")
    planner = Planner(archive.config(archive.write_table("study_id,uri\n1,a.png\n1,b.png\n")), private)
    planner.plan()
    archive.write_table("study_id,uri\n1,a.png\n2,b.png\n")
    assert uris(planner.plan_new()) == ["b.png"]


class Listing:
    """A listing with the keys and versions that a test gives."""

    uri = "simulated"

    def __init__(self, versions: dict[str, int]) -> None:
        self.versions = versions

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterable[ObjectInfo]:
        for key, version in self.versions.items():
            yield ObjectInfo(key, size_bytes=10, etag=f"etag-{version}")


keys = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda pair: f"study-{pair[0]}/{pair[1]}.png")
nights = st.lists(st.dictionaries(keys, st.integers(0, 2), min_size=1), min_size=1, max_size=4)


@settings(deadline=None, max_examples=6)
@given(nights=nights)
def test_whatever_happens_to_an_archive_each_file_is_planned_when_it_is_not_what_it_was_last(
    nights: list[dict[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    private = open_store(str(tmp_path_factory.mktemp("private")), owner_only=True)
    config = InputConfig(uri="simulated", layout="tree")
    plans: list[Plan] = []
    known: dict[str, int] = {}
    for night, versions in enumerate(nights):
        plan = freeze_plan(
            config,
            ShardsConfig(),
            Listing(versions),  # type: ignore[arg-type]
            private,
            f"{night}",
            PSEUDONYMIZER,
            select=new_since(plans),
        )
        planned = [image for shard in plan.shards() for image in plan.read_shard(shard)]
        assert uris(planned) == sorted(key for key, version in versions.items() if known.get(key) != version)
        assert plan.head.n_images == len(planned)
        known |= versions
        plans.append(plan)


file_on_each_night = st.lists(
    st.tuples(st.integers(0, 1), st.none() | st.sets(st.integers(0, 2), min_size=1)), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=8)
@given(nights=file_on_each_night)
@example(nights=[(0, {0, 1}), (1, {0, 1}), (0, {0}), (0, {0, 1})])
@example(nights=[(0, None), (1, {0}), (0, {0}), (0, None)])
def test_the_latest_plan_of_each_frame_is_of_the_file_as_it_is_now(
    nights: list[tuple[int, set[int] | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file has one of two contents each night, and the manifest requests varying frames of it."""
    directory = tmp_path_factory.mktemp("lineage")
    private = open_store(str(directory / "private"), owner_only=True)
    manifest = directory / "manifest.csv"
    plans: list[Plan] = []
    latest: dict[int | None, int] = {}  # frame (None: the frames of the rule) → version that was planned last
    for night, (version, frames) in enumerate(nights):
        asked = {None} if frames is None else frames
        rows = [f"1,a.png,{'' if frame is None else frame}" for frame in asked]
        manifest.write_text("\n".join(["study_id,uri,frame", *rows]))
        config = InputConfig(uri="simulated", layout="manifest", manifest=str(manifest))
        plan = freeze_plan(
            config,
            ShardsConfig(),
            Listing({"a.png": version}),  # type: ignore[arg-type]
            private,
            f"{night}",
            PSEUDONYMIZER,
            select=new_since(plans),
        )
        plans.append(plan)
        for image in (image for shard in plan.shards() for image in plan.read_shard(shard)):
            for frame in [None, 0, 1, 2] if image.frames is None else image.frames:
                latest[frame] = version
        # The rule may choose any frame, so each frame that was planned must be of the file as it is now.
        assert all(latest[frame] == version for frame in (latest if None in asked else asked))


def results(*rows: tuple[str, int | None, bool]) -> ds.Dataset:
    """Return predictions made of rows (file, frame, whether it was scored)."""
    return ds.dataset(
        pa.table(
            {
                "image_id": [PSEUDONYMIZER.image(uri) for uri, _, _ in rows],
                "frame": pa.array([frame for _, frame, _ in rows], pa.int32()),
                "error_code": pa.array([None if ok else "decode_error" for _, _, ok in rows]).dictionary_encode(),
            }
        )
    )


@pytest.mark.parametrize(
    ("lineage", "retried"),
    [
        ([results(("a/1.png", 0, True), ("a/2.png", None, False), ("b/1.png", 0, True))], ["a/2.png"]),
        ([results(("a/1.png", 0, True), ("a/1.png", 1, False))], ["a/1.png"]),
        ([results(("a/1.png", 0, True))], []),
        # scored by a later run; scored by an earlier run; a file failed as a whole and then in one frame
        ([results(("a/1.png", 0, False)), results(("a/1.png", 0, True))], []),
        ([results(("a/1.png", 0, True)), results(("a/1.png", 0, False), ("b/1.png", None, False))], ["b/1.png"]),
        ([results(("a/1.png", None, False)), results(("a/1.png", 0, True), ("a/1.png", 1, False))], ["a/1.png"]),
        ([results(("gone/1.png", None, False))], []),
    ],
)
def test_failed_files_are_planned_again(
    archive: Archive, private: Store, lineage: list[ds.Dataset], retried: list[str]
) -> None:
    archive.add_files("a/1.png", "a/2.png", "b/1.png")
    planner = Planner(archive.config(), private)
    planner.plan()
    assert uris(planner.plan(failed_in(lineage, planner.plans))) == retried


def test_a_draft_may_plan_nothing(archive: Archive, private: Store) -> None:
    archive.add_files("a/1.png")
    planner = Planner(archive.config(), private)
    planner.plan()
    storage = open_store(planner.config.uri)
    with draft_plan(planner.config, ShardsConfig(), storage, PSEUDONYMIZER, select=new_since(planner.plans)) as draft:
        assert (draft.head.n_images, draft.head.n_shards, draft.head.n_studies) == (0, 0, 0)
