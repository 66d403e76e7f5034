"""Runs shards through Ray Data: references of shards go in, summaries come out."""

import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

from diagchd_batch.cluster.node_checks.excluded_nodes import ExcludedNodes
from diagchd_batch.cluster.ray_data_messages import silence_ray_data
from diagchd_batch.cluster.request_permits import start_permits
from diagchd_batch.errors import RunFault
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.worker.ray_entry import OUTCOME, ShardActor
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.worker_process import read_outcomes
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.uris import is_dicomweb_uri

SHARDS_IN_FLIGHT_PER_ACTOR = 2
TICK_S = 1.0

ENDING_TIMEOUT_S = 8.0
"""How long the threads of an execution that was given up may take to end. They take a fraction of a second, unless
Ray's processes are dead."""

_DONE = object()


def run_shards(
    settings: RunSettings,
    shards: Sequence[ShardReference],
    actors: ActorPlan,
    *,
    on_summary: Callable[[ShardSummary], None],
    on_tick: Callable[[], None],
    on_excluded: Callable[[str], None] | None = None,
) -> None:
    """Score shards on the Ray that this process is connected to, and return when all have ended.

    Workers that die are replaced and their shards retried without limit; what must not be retried comes back as a
    fault. The callbacks are called in this thread. An exception from one ends the run and abandons the shards in
    progress; the caller then disconnects from Ray. No thread of Ray Data uses Ray any more by then: Ray ends a process
    in which a thread calls it after it was disconnected, with exit code 1 or a segmentation fault.

    Args:
        settings: What the workers get.
        shards: The shards to score.
        actors: How many actors, and their size.
        on_summary: Called as each shard ends.
        on_tick: Called about once a second.
        on_excluded: Gets a message for each node that joins during the run, cannot work, and is left out. None if no
            node can join; then a node that cannot work ends the run.

    Raises:
        RunFault: A worker reports a fault, or Ray gives up.
    """
    outcomes: queue.Queue[Any] = queue.Queue()
    excluded = ExcludedNodes(actors.cpus, actors.gpus, on_excluded) if on_excluded else None
    # Ray ends an actor that nobody refers to, so this one lives until the function returns.
    permits = start_permits(settings.dicomweb) if is_dicomweb_uri(settings.input_uri) else None
    given_up = threading.Event()
    dataset = _dataset(settings, shards, actors, excluded.reports if excluded else None, permits, given_up)
    # Ray's iterator blocks without a time limit, so it gets a thread, and signals and ticks stay in this one
    follower = threading.Thread(target=_follow, args=(dataset, outcomes), name="ray-data", daemon=True)
    follower.start()
    next_tick_s = time.monotonic()
    try:
        while True:
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                on_tick()
                if excluded:
                    excluded.update()
                next_tick_s = now_s + TICK_S
            try:
                outcome = outcomes.get(timeout=max(0.0, next_tick_s - time.monotonic()))
            except queue.Empty:
                continue
            if outcome is _DONE:
                return
            if isinstance(outcome, BaseException):
                raise RunFault(f"Ray gave up: {type(outcome).__name__}; give the same command again") from outcome
            for summary in read_outcomes(outcome[OUTCOME]):
                on_summary(summary)
    finally:
        given_up.set()
        follower.join(ENDING_TIMEOUT_S)


class _GivenUpError(Exception):
    """Ends an execution that nobody waits for any more."""


class _EndsWhenGivenUp:
    """A callback of Ray Data, which calls it in the thread of an execution several times a second.

    Ray Data takes a class and makes an object of it. This is an object that returns itself, because it shares an event.

    Args:
        given_up: Set when the execution is to end.
    """

    def __init__(self, given_up: threading.Event | None = None) -> None:
        self._given_up = given_up

    def __call__(self) -> "_EndsWhenGivenUp":
        """Return the callback of a new execution."""
        return self

    def before_execution_starts(self, executor: Any) -> None:
        """Do nothing."""

    def on_execution_step(self, executor: Any) -> None:
        """End the execution if it was given up."""
        if self._given_up and self._given_up.is_set():
            raise _GivenUpError

    def after_execution_succeeds(self, executor: Any) -> None:
        """Do nothing."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Do nothing."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_EndsWhenGivenUp":
        """Return itself, so that a copy of the settings of Ray Data shares the event."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the event out: the workers get the settings of Ray Data too, and have no use for it."""
        return _EndsWhenGivenUp, ()


def _follow(dataset: Any, outcomes: queue.Queue[Any]) -> None:
    try:
        # without prefetching, which would hold a result back until the next one is there
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            outcomes.put(batch)
        outcomes.put(_DONE)
    except BaseException as error:
        outcomes.put(error)


def _dataset(
    settings: RunSettings,
    shards: Sequence[ShardReference],
    actors: ActorPlan,
    reports: Any,
    permits: Any,
    given_up: threading.Event,
) -> Any:
    import ray.data

    # never start more actors than there are shards
    most = max(actors.min_actors, len(shards) if actors.max_actors is None else min(actors.max_actors, len(shards)))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [cast(Any, _EndsWhenGivenUp(given_up))]
    context.execution_no_progress_timeout_s = -1  # `FailureMonitor` also sees progress within a shard
    # start another actor as soon as all are busy; by default each must have a queue first
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    # without limits Ray asks the autoscaler for one more node whenever the present ones are busy
    context.execution_options.resource_limits = _resource_limits(most, actors)
    silence_ray_data()
    with ray.data.DataContext.current(context):
        dataset = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    return dataset.map_batches(
        ShardActor,
        fn_constructor_kwargs={"settings": pickle.dumps(settings), "reports": reports, "permits": permits},
        batch_size=1,
        num_cpus=actors.cpus,
        num_gpus=actors.gpus,
        compute=ray.data.ActorPoolStrategy(
            min_size=actors.min_actors,
            max_size=most,
            initial_size=min(actors.initial_actors, most),
            max_tasks_in_flight_per_actor=SHARDS_IN_FLIGHT_PER_ACTOR,
            max_concurrent_calls_per_actor=SHARDS_IN_FLIGHT_PER_ACTOR,
            enable_true_multi_threading=True,
        ),
    )


def _resource_limits(n_actors: int, actors: ActorPlan) -> Any:
    """Return the limit for the autoscaler: twice what the actors need of the resource that nodes are chosen for.

    Twice, because Ray also counts leftovers on a node that are too small for an actor.
    """
    from ray.data import ExecutionResources

    n_shares = 2 * n_actors
    return (
        ExecutionResources(gpu=n_shares * actors.gpus)
        if actors.gpus
        else ExecutionResources(cpu=n_shares * actors.cpus)
    )
