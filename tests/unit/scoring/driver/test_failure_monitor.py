"""The driver's monitoring: the failure limit, stalled runs, and workers that die while they start."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.scoring.driver import failure_monitor
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.failure_monitor import FailureMonitor
from diagchd_batch.scoring.liveness.heartbeats import WorkerBeats
from diagchd_batch.scoring.liveness.progress_events import ShardSummary


class Told:
    """A progress display that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.flights: list[int] = []
        self.shards: list[int] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def in_flight(self, n_images: int) -> None:
        self.flights.append(n_images)

    def workers(self, n_workers: int) -> None:
        pass

    def shard_done(self, summary: ShardSummary) -> None:
        self.shards.append(summary.shard)


class World:
    """A clock and workers' heartbeats that a test controls."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.beats = WorkerBeats()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(time, "monotonic", lambda: world.now_s)
    monkeypatch.setattr(failure_monitor, "read_worker_beats", lambda *_: world.beats)
    return world


def _monitor(outcomes: Mapping[str, int] | None = None, **limits: Any) -> tuple[FailureMonitor, Told]:
    told = Told()
    plan = ActorPlan(1, 1, 1, 2.0, 0.0)
    return FailureMonitor(told, LimitsConfig(**limits), plan, None, "run", "now", Counter(outcomes or {})), told  # type: ignore[arg-type]


def _tick(monitor: FailureMonitor, world: World, seconds: float, beats: WorkerBeats | None = None) -> None:
    world.now_s += seconds
    if beats is not None:
        world.beats = beats
    monitor.on_tick()


@pytest.mark.parametrize(
    ("n_ok", "n_failed", "limit", "stops"),
    [
        (0, 199, 0.5, False),  # too few to judge
        (0, 200, 0.5, True),
        (100, 100, 0.5, False),  # not above the limit
        (99, 101, 0.5, True),
        (0, 500, 1.0, False),
        (199, 1, 0.0, True),
    ],
)
def test_failure_limit(n_ok: int, n_failed: int, limit: float, stops: bool) -> None:
    monitor, _ = _monitor(max_failed_fraction=limit)
    summary = ShardSummary(0, 1, n_ok, n_failed, {"decode_error": n_failed})
    if stops:
        with pytest.raises(RunFault, match="max_failed_fraction") as error:
            monitor.on_summary(summary)
        assert f"decode_error {n_failed}" in str(error.value)
    else:
        monitor.on_summary(summary)


def test_objects_that_are_no_images_are_no_failures() -> None:
    """A folder of DICOM files has reports and presentation states among its images."""
    monitor, _ = _monitor(max_failed_fraction=0.5)
    monitor.on_summary(ShardSummary(0, 1000, 100, 900, {"not_an_image": 900}))
    monitor.on_summary(ShardSummary(1, 1000, 100, 1000, {"not_an_image": 900, "decode_error": 100}))
    with pytest.raises(RunFault, match="max_failed_fraction"):
        monitor.on_summary(ShardSummary(2, 101, 0, 101, {"decode_error": 101}))


def test_failures_of_earlier_submissions_count() -> None:
    monitor, _ = _monitor({"decode_error": 150})
    with pytest.raises(RunFault):
        monitor.on_summary(ShardSummary(7, 1, 0, 50, {"not_found": 50}))


def test_images_in_flight_leave_out_what_is_committed(world: World) -> None:
    monitor, told = _monitor()
    _tick(monitor, world, 6, WorkerBeats(frozenset("a"), images_done={0: 4, 1: 2}))
    monitor.on_summary(ShardSummary(0, 8, 8, 0))
    _tick(monitor, world, 6)
    assert told.flights == [6, 2]
    assert told.shards == [0]


def test_a_standstill_ends_the_run_progress_does_not(world: World) -> None:
    monitor, _ = _monitor(stall_timeout_s=400)
    for step in range(10):
        _tick(monitor, world, 300, WorkerBeats(frozenset("a"), images_done={0: step}))
    with pytest.raises(RunFault, match="nothing moved"):
        for _ in range(10):
            _tick(monitor, world, 300)


def test_no_node_that_fits_is_said_once_and_not_waited_for_for_ever(world: World) -> None:
    monitor, told = _monitor(stall_timeout_s=400)
    with pytest.raises(RunFault, match="0 live worker"):
        for _ in range(10):
            _tick(monitor, world, 300)
    assert len(told.messages) == 1
    assert "2 free cores" in told.messages[0]


def test_workers_that_die_before_their_first_image_are_not_replaced_for_ever(world: World) -> None:
    monitor, told = _monitor()
    with pytest.raises(RunFault, match="6 workers were started"):
        for number in range(20):
            _tick(monitor, world, 30, WorkerBeats(frozenset([str(number)])))
    assert len(told.messages) == 5


def test_workers_that_die_after_the_first_images_are_not_replaced_for_ever(world: World) -> None:
    monitor, _ = _monitor()
    _tick(monitor, world, 30, WorkerBeats(frozenset("first"), images_done={0: 3}))
    with pytest.raises(RunFault, match="6 workers were started"):
        for number in range(20):
            _tick(monitor, world, 30, WorkerBeats(frozenset([str(number)]), images_done={0: 3}))


def test_replacements_with_images_in_between_are_allowed_without_limit(world: World) -> None:
    monitor, _ = _monitor()
    for number in range(40):
        _tick(monitor, world, 30, WorkerBeats(frozenset([str(number)])))
        _tick(monitor, world, 30, WorkerBeats(frozenset([str(number)]), images_done={number: 1}))


def test_a_shard_may_end_as_many_workers_as_max_attempts_allows(world: World) -> None:
    monitor, _ = _monitor(max_attempts=10)
    for number in range(11):
        _tick(monitor, world, 30, WorkerBeats(frozenset([str(number)])))
    with pytest.raises(RunFault, match="12 workers were started"):
        _tick(monitor, world, 30, WorkerBeats(frozenset(["last"])))


def test_a_pool_that_grows_before_the_first_image_is_no_fault(world: World) -> None:
    monitor, _ = _monitor()
    for n_workers in range(1, 30):
        _tick(monitor, world, 10, WorkerBeats(frozenset(str(number) for number in range(n_workers))))


def test_the_start_of_a_replacement_is_no_standstill(world: World) -> None:
    monitor, _ = _monitor(stall_timeout_s=20)
    _tick(monitor, world, 6, WorkerBeats(frozenset("a"), images_done={0: 3}))
    _tick(monitor, world, 40)  # the worker was killed, and its heartbeat still looks recent
    for _ in range(20):
        _tick(monitor, world, 6, WorkerBeats())  # Ray starts another process on a busy node
    for _ in range(20):
        _tick(monitor, world, 6, WorkerBeats(frozenset("b")))  # which loads the model
    _tick(monitor, world, 6, WorkerBeats(frozenset("b"), images_done={0: 1}))


def test_each_worker_that_appears_counts_as_a_movement_but_living_on_does_not(world: World) -> None:
    monitor, _ = _monitor(stall_timeout_s=400)
    _tick(monitor, world, 1200, WorkerBeats(frozenset("a")))
    _tick(monitor, world, 1200, WorkerBeats(frozenset("ab")))
    _tick(monitor, world, 1200)
    with pytest.raises(RunFault, match="nothing moved for 1300 s: 2 live workers"):
        _tick(monitor, world, 200)
