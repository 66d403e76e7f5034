"""Walks over a run's shards: which are missing or too many, and the checks of the others, several at a time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from diagchd_batch import output_layout
from diagchd_batch.process.cores import available_cores
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.results.verify.findings import REMEDIES, Problem, ProblemKind
from diagchd_batch.results.verify.row_checks import Expectations
from diagchd_batch.results.verify.shard_file import ShardCheck, ShardFindings
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.studies.plan.stored_plan import Plan


def misplaced_shards(storage: Store, plan: "Plan", run_id: str) -> Iterator[Problem]:
    """Yield a problem for each planned shard that is not committed, and for each committed one that is not planned.

    Args:
        storage: The output.
        plan: The run's plan.
        run_id: The run.
    """
    committed = committed_shards(storage, run_id)
    for shard in sorted(committed - set(range(plan.head.n_shards))):
        key = output_layout.shard_file(run_id, shard)
        yield _problem(ProblemKind.UNPLANNED_SHARD, shard, f"the plan has no such shard, but there is {key}")
    for reference in plan.shards():
        if reference.shard not in committed:
            detail = f"it is not committed; without a result: {counted(reference.n_images, 'image', 'planned')}"
            yield _problem(ProblemKind.MISSING_SHARD, reference.shard, detail)


def checked_shards(
    storage: Store, private: Store, plan: "Plan", record: RunRecord, workers: int | None = None
) -> Iterator[tuple[ShardFindings, int]]:
    """Check each shard that is planned and committed. The rows of a few shards are in memory at the same time.

    Args:
        storage: The output.
        private: The private tree.
        plan: The run's plan.
        record: The run's record.
        workers: The number of shards to check at the same time; by default one for each core, at most 8.

    Yields:
        The findings of each shard and its number of planned images, in ascending order of shards.
    """
    committed = committed_shards(storage, record.run_id)
    sources = _source_keys(private, record.run_id)
    expected = Expectations(record.model.height, record.model.width, record.model.chd_threshold, plan.head.frames)
    metadata = table_metadata(run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated)
    check = ShardCheck(storage, private, record.run_id, expected, metadata)
    n_workers = workers or min(8, available_cores())
    waiting: deque[tuple[Future[ShardFindings], int]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="verify") as pool:
        for reference in plan.shards():
            if reference.shard not in committed:
                continue
            planned = plan.read_shard(reference)
            keys = sources.get(reference.shard, [])
            waiting.append((pool.submit(check.check, reference.shard, planned, keys), reference.n_images))
            if len(waiting) > n_workers:
                future, n_images = waiting.popleft()
                yield future.result(), n_images
        while waiting:
            future, n_images = waiting.popleft()
            yield future.result(), n_images


def _source_keys(private: Store, run_id: str) -> dict[int, list[str]]:
    keys: dict[int, list[str]] = {}
    for info in private.list(output_layout.sources_prefix(run_id)):
        if match := output_layout.SOURCES_FILE.fullmatch(info.key):
            keys.setdefault(int(match["shard"]), []).append(info.key)
    return keys


def _problem(kind: ProblemKind, shard: int, detail: str) -> Problem:
    return Problem(kind, f"shard {shard}", detail, REMEDIES[kind])
