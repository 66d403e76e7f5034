import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import ConfigError, InputError, RunFault
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import count_new_images, freeze_plan, preview_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES, Plan, PlanHead, open_plan
from tests.unit.studies.archives import PSEUDONYMIZER, Archive, SimulatedListing

TREE = InputConfig(uri="simulated", layout="tree")
KEYS = [f"study {study}/{image}.png" for study in range(40) for image in range(study % 4 + 1)]


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "private"), owner_only=True)


def freeze(
    private: Store,
    keys: Iterable[str] = KEYS,
    run_id: str = "run",
    pseudonymizer: Pseudonymizer = PSEUDONYMIZER,
    images_per_shard: int = 7,
) -> Plan:
    shards = ShardsConfig(images_per_shard=images_per_shard)
    return freeze_plan(TREE, shards, SimulatedListing(keys), private, run_id, pseudonymizer)  # type: ignore[arg-type]


def rows(plan: Plan) -> list[PlannedImage]:
    return [row for reference in plan.shards() for row in plan.read_shard(reference)]


def test_every_image_is_planned_exactly_once_with_what_the_listing_showed(private: Store) -> None:
    listed = {info.key: info for info in SimulatedListing(KEYS).list()}
    planned = rows(freeze(private))
    assert sorted(row.uri for row in planned) == sorted(KEYS)
    for row in planned:
        info = listed[row.uri]
        assert (row.size_bytes, row.etag, row.modified_ns) == (info.size_bytes, info.etag, info.modified_ns)
        assert row.image_id == PSEUDONYMIZER.image(row.uri)
        assert row.study_id == PSEUDONYMIZER.study(row.uri.split("/")[0])
        assert (row.frames, row.mask_uri) == (None, None)


def test_shards_are_runs_of_whole_studies_in_the_order_of_their_tokens(private: Store) -> None:
    plan = freeze(private)
    planned = rows(plan)
    assert [(row.study_id, row.uri) for row in planned] == sorted((row.study_id, row.uri) for row in planned)
    shards_of_study = {(row.study_id, row.shard) for row in planned}
    assert len(shards_of_study) == len({study for study, _ in shards_of_study}) == plan.head.n_studies == 40
    for reference in plan.shards():
        shard = plan.read_shard(reference)
        assert [row.position for row in shard] == list(range(reference.n_images))
        assert {row.shard for row in shard} == {reference.shard}
        assert len({row.study_id for row in shard}) == reference.n_studies
        assert sum(row.size_bytes for row in shard) == reference.size_bytes
        assert reference.n_images <= 7


def test_more_shards_than_a_part_holds(private: Store) -> None:
    keys = [f"{study}/a.png" for study in range(300)]
    plan = freeze(private, keys, images_per_shard=1)
    assert plan.head.n_parts == 2
    assert [(ref.part, ref.row_group) for ref in plan.shards()] == [(i // 256, i % 256) for i in range(300)]
    assert plan.is_intact()
    streamed = [uri for batch in plan.images(["uri"]) for uri in batch["uri"].to_pylist()]
    assert streamed == [row.uri for row in rows(plan)]
    assert sorted(streamed) == sorted(keys)


def test_the_plan_does_not_depend_on_the_order_of_the_listing(private: Store) -> None:
    one = freeze(private, KEYS, "one")
    other = freeze(private, reversed(KEYS), "other")
    # Sizes and ETags of the simulated listing depend on its order, so only the planned images can be compared.
    assert [(row.shard, row.position, row.image_id) for row in rows(one)] == [
        (row.shard, row.position, row.image_id) for row in rows(other)
    ]


def test_the_same_inventory_gives_the_same_digest_and_any_change_another(private: Store) -> None:
    digest = freeze(private, run_id="a").head.digest
    assert freeze(private, run_id="b").head.digest == digest
    assert preview_plan(TREE, ShardsConfig(images_per_shard=7), SimulatedListing(KEYS), PSEUDONYMIZER).head.digest == (  # type: ignore[arg-type]
        digest
    )
    others = [
        freeze(private, [*KEYS, "new/1.png"], "c"),
        freeze(private, [*KEYS[1:], KEYS[0]], "d"),  # other ETags
        freeze(private, run_id="e", images_per_shard=8),
        freeze(private, run_id="f", pseudonymizer=Pseudonymizer(b"another key, 32 bytes long......")),
    ]
    assert len({digest, *(plan.head.digest for plan in others)}) == 5


def test_a_frozen_plan_stays_whatever_comes_in_later(private: Store) -> None:
    first = freeze(private)
    again = freeze(private, [*KEYS, "new/1.png"])
    assert again.head == first.head == open_plan(private, "run").head
    assert count_new_images(TREE, SimulatedListing([*KEYS, "new/1.png"]), [again], PSEUDONYMIZER) == 1  # type: ignore[arg-type]
    assert count_new_images(TREE, SimulatedListing(KEYS[:3]), [again], PSEUDONYMIZER) == 0  # type: ignore[arg-type]


def _freeze_in_another_process(private_uri: str, n_keys: int, barrier: Barrier, answers: "Queue[Any]") -> None:
    barrier.wait()
    plan = freeze(open_store(private_uri, owner_only=True), KEYS[:n_keys])
    answers.put((plan.head, [row.uri for row in rows(plan)]))


def test_of_two_drivers_at_once_both_get_one_plan(private: Store) -> None:
    processes = multiprocessing.get_context("spawn")
    barrier, answers = processes.Barrier(2), processes.Queue()
    # They even see different listings, but one whole plan must win.
    drivers = [
        processes.Process(target=_freeze_in_another_process, args=(private.uri, n_keys, barrier, answers))
        for n_keys in (len(KEYS), len(KEYS) - 1)
    ]
    for driver in drivers:
        driver.start()
    (head, planned), (other_head, other_planned) = answers.get(timeout=60), answers.get(timeout=60)
    for driver in drivers:
        driver.join()
    assert head == other_head
    assert planned == other_planned
    assert head.n_images == len(planned)


def test_a_driver_that_died_between_parts_and_head_is_made_good(private: Store) -> None:
    plan = freeze(private)
    private.delete(output_layout.plan_head("run"))
    assert freeze(private).head == plan.head


def test_manifest_frames_and_masks_reach_the_plan(archive: Archive, private: Store) -> None:
    archive.add_files("a.png", "m/a.png", data=b"123")
    path = archive.write_table("study_id,uri,frame,mask_uri\n1,a.png,12,m/a.png\n1,a.png,3,m/a.png\n1,b.png,,m/b.png\n")
    config = archive.config(path)
    plan = freeze_plan(config, ShardsConfig(), open_store(config.uri), private, "run", PSEUDONYMIZER)
    framed, missing = rows(plan)
    assert framed.frames == (3, 12)
    assert (framed.size_bytes, framed.mask_uri, framed.mask_size_bytes) == (3, "m/a.png", 3)
    assert framed.modified_ns and framed.mask_modified_ns
    assert (missing.frames, missing.size_bytes, missing.mask_uri, missing.mask_size_bytes) == (
        None,
        None,
        "m/b.png",
        None,
    )


def test_studies_hold_what_evaluation_needs(archive: Archive, private: Store) -> None:
    path = archive.write_table("study_id,uri,subject_id,label,include\n1,a.png,P,1,\n2,b.png,P,,0\n")
    config = archive.config(path)
    plan = freeze_plan(config, ShardsConfig(), open_store(config.uri), private, "run", PSEUDONYMIZER)
    studies = plan.studies().read_all()
    assert studies.schema == PLAN_STUDIES
    found = {row["source_study_id"]: (row["n_images"], row["label"]) for row in studies.to_pylist()}
    assert found == {"1": (1, 1), "2": (0, None)}
    assert set(studies["subject_id"].to_pylist()) == {PSEUDONYMIZER.subject("P")}
    assert set(studies["study_id"].to_pylist()) == {PSEUDONYMIZER.study("1"), PSEUDONYMIZER.study("2")}


def test_a_plan_that_somebody_edited_is_noticed(archive: Archive, private: Store, tmp_path: Path) -> None:
    """Every row is still there and readable, but a label, a file or a frame was changed."""
    path = archive.write_table("study_id,uri,frame,label\n1,a.png,3,1\n2,b.png,,0\n3,c.png,,\n")
    config = archive.config(path)
    shards = ShardsConfig(images_per_shard=1)
    plan = freeze_plan(config, shards, open_store(config.uri), private, "run", PSEUDONYMIZER)
    assert plan.is_intact()
    images, studies = (
        output_layout.plan_part("run", plan.head.digest, 0),
        output_layout.plan_studies("run", plan.head.digest),
    )
    for key, column, values in (
        (studies, "label", [1, 1, None]),
        (images, "uri", ["a.png", "b.png", "d.png"]),
        (images, "frames", [[4], None, None]),
    ):
        file = tmp_path / "private" / key
        sound = file.read_bytes()
        table = pq.read_table(file)
        place = table.schema.names.index(column)
        altered = table.set_column(place, table.schema.field(place), [pa.array(values, table.schema.field(place).type)])
        pq.write_table(altered, file, row_group_size=1 if key == images else None)
        assert not plan.is_intact()
        file.write_bytes(sound)
    assert plan.is_intact()


def test_heads_survive_json_and_plans_pickle_small(private: Store) -> None:
    plan = freeze(private)
    assert PlanHead.from_json(plan.head.to_json(), "plan.json") == plan.head
    copy = pickle.loads(pickle.dumps(plan))
    assert rows(copy) == rows(plan)


def test_a_plan_of_a_later_format_is_refused(private: Store) -> None:
    with pytest.raises(RunFault, match="format 99"):
        PlanHead.from_json(freeze(private).head.to_json().replace(b'"format":2', b'"format":99'), "plan.json")


class WatchedStorage:
    """Records which ranges are read, and by which threads."""

    def __init__(self, storage: Store) -> None:
        self._storage = storage
        self.ranges: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.ranges.append((start, length))
        self.threads.add(threading.get_ident())
        return self._storage.read_range(key, start, length)


@pytest.mark.parametrize("images_per_shard", [7, 2_000])
def test_plans_are_read_by_the_thread_that_asks_and_a_shard_in_one_request(
    private: Store, images_per_shard: int
) -> None:
    """If a thread of Arrow releases a Python file late, a process that ends at that moment is aborted."""
    keys = [f"{study:05d}/{'long name ' * 9}{study * 7919 % 100_003}.png" for study in range(6_000)]
    plan = freeze(private, keys, images_per_shard=images_per_shard)
    watched = WatchedStorage(private)
    again = open_plan(watched, "run")
    references = list(again.shards())
    assert len(again.read_shard(references[1])) == references[1].n_images
    rows_of_shard = [extent for extent in watched.ranges if extent[0] == _row_group_start(private, plan, 1)]
    assert len(rows_of_shard) == 1 and len(watched.ranges) <= 4  # the footer may take more than one
    watched.ranges.clear()
    assert sum(batch.num_rows for batch in again.images(["uri"])) == 6_000
    assert again.studies().read_all().num_rows == 6_000 and again.is_intact()
    assert len(watched.ranges) <= 12 * again.head.n_parts
    assert watched.threads == {threading.get_ident()}


def _row_group_start(private: Store, plan: Plan, row_group: int) -> int:
    key = output_layout.plan_part("run", plan.head.digest, 0)
    columns = pq.read_metadata(io.BytesIO(private.read(key))).row_group(row_group)
    first = columns.column(0)
    return min(filter(None, (first.dictionary_page_offset, first.data_page_offset)))


def test_damage_is_a_fault_of_the_run(private: Store, tmp_path: Path) -> None:
    plan = freeze(private)
    reference = next(plan.shards())
    part = tmp_path / "private" / output_layout.plan_part("run", plan.head.digest, 0)
    part.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(RunFault, match="cannot be read"):
        plan.read_shard(reference)
    part.unlink()
    with pytest.raises(RunFault, match="is gone"):
        plan.read_shard(reference)
    with pytest.raises(RunFault, match="no plan"):
        open_plan(private, "another-run")
    head = tmp_path / "private" / output_layout.plan_head("run")
    for damaged in (b"", head.read_bytes()[:50], b"[]", b'{"format":1}'):
        head.write_bytes(damaged)
        with pytest.raises(RunFault, match=r"run_id=run/plan\.json is damaged"):
            open_plan(private, "run")


@pytest.mark.parametrize("kind", ["study", "image", "subject_of_study"])
def test_two_ids_with_one_token_are_noticed(private: Store, kind: str) -> None:
    class Colliding(Pseudonymizer):
        pass

    setattr(Colliding, kind, lambda self, identifier: "x-0000000000000000")
    with pytest.raises(ConfigError, match="same token"):
        freeze(private, pseudonymizer=Colliding(b"k" * 32))


def test_nothing_is_written_where_the_inventory_is_refused(private: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        freeze(private, ["at-root.png"])
    assert not list((tmp_path / "private").rglob(f"*{output_layout.PRIVATE_TABLE_SUFFIX}"))


def test_progress_counts_what_is_listed() -> None:
    seen: list[int] = []
    preview_plan(TREE, ShardsConfig(), SimulatedListing(KEYS), PSEUDONYMIZER, progress=seen.append)  # type: ignore[arg-type]
    assert seen == list(range(1, len(KEYS) + 1))


def test_too_little_memory_is_said_so(private: Store) -> None:
    listing = SimulatedListing(f"study {n // 3}/{n}.png" for n in range(200_000))
    with pytest.raises(RunFault, match=r"did not fit into the 4 MiB of memory .* a larger TMPDIR does not help"):
        preview_plan(TREE, ShardsConfig(), listing, PSEUDONYMIZER, max_memory_bytes=4 * 1024 * 1024)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_images", "max_memory_mib"), [(5_000, 512), (30_000, 16)])
def test_a_full_temporary_disk_is_a_fault_of_the_run(n_images: int, max_memory_mib: int) -> None:
    """The disk is full while the parts are written or, with little memory, while the database spills."""
    code = f"""
import resource, signal
from tests.unit.studies.plan.test_make_plan import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
listing = SimulatedListing(f"study {{n // 3}}/{{n}}.png" for n in range({n_images}))
with pytest.raises(RunFault, match="point TMPDIR at a larger disk"):
    preview_plan(TREE, ShardsConfig(), listing, PSEUDONYMIZER, max_memory_bytes={max_memory_mib} << 20)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_planning_leaves_no_names_in_temporary_files(private: Store, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    code = (
        "from tests.unit.studies.plan.test_make_plan import *;"
        "preview_plan(TREE, ShardsConfig(), SimulatedListing(KEYS), PSEUDONYMIZER)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"TMPDIR": str(tmp_path / "temporary")})
    assert not list((tmp_path / "temporary").iterdir())
