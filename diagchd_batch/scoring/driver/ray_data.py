"""The Ray Data run: shards in, summaries out, with a watch over both. The only module here that imports Ray."""

import logging
import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from diagchd_batch.cluster.node_checks.excluded_nodes import ExcludedNodes
from diagchd_batch.errors import RunFault
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.liveness.progress import ShardSummary
from diagchd_batch.scoring.worker.ray_entry import OUTCOME, ShardActor
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_worker import read_outcomes
from diagchd_batch.studies.records import ShardReference

SHARDS_IN_FLIGHT_PER_ACTOR = 2
TICK_S = 1.0

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
    """Score `shards` on the Ray that this process is connected to. Returns when all are committed.

    `on_summary` is called as each shard ends, `on_tick` about every second; both in this thread, and an exception from
    either ends the run. Workers that die are replaced, and their shards retried, without limit: what must not be
    retried comes back as a fault. Leaving early abandons the shards in hand; the caller then disconnects from Ray.
    """
    outcomes: queue.Queue = queue.Queue()
    excluded = ExcludedNodes(actors.cpus, actors.gpus, on_excluded) if on_excluded else None
    dataset = _dataset(settings, shards, actors, excluded.reports if excluded else None)
    # Ray's iterator blocks without a time limit, so it gets a thread, and signals and clocks stay with this one.
    threading.Thread(target=_follow, args=(dataset, outcomes), name="ray-data", daemon=True).start()
    next_tick_s = time.monotonic()
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


def _follow(dataset: Any, outcomes: queue.Queue) -> None:
    try:
        # Without look-ahead, which would hold a result back until the one after it is there.
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            outcomes.put(batch)
        outcomes.put(_DONE)
    except BaseException as error:
        outcomes.put(error)


def _dataset(settings: RunSettings, shards: Sequence[ShardReference], actors: ActorPlan, reports: Any) -> Any:
    import ray.data

    # More than there are shards would have nothing to do.
    most = max(actors.min_actors, len(shards) if actors.max_actors is None else min(actors.max_actors, len(shards)))
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # the driver's own watch knows of progress within a shard
    # Full actors are reason enough for another one; by default it would take a queue before each.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    # Else it would ask an autoscaler for one node more for as long as those that are there are busy.
    context.execution_options.resource_limits = _limits(most, actors)
    _silence_console()
    with ray.data.DataContext.current(context):
        dataset = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    return dataset.map_batches(
        ShardActor,
        fn_constructor_kwargs={"settings": pickle.dumps(settings), "reports": reports},
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


def _limits(n_actors: int, actors: ActorPlan) -> Any:
    """Of the resource that nodes are chosen for, what so many actors need; twice, since what is left over on a node
    beside whole actors, always less than they take, counts too.
    """
    from ray.data import ExecutionResources

    n_shares = 2 * n_actors
    return (
        ExecutionResources(gpu=n_shares * actors.gpus)
        if actors.gpus
        else ExecutionResources(cpu=n_shares * actors.cpus)
    )


def _silence_console() -> None:
    """Ray Data logs its plan and statistics to the terminal as well as to its file; the file is enough."""
    logger = logging.getLogger("ray.data")
    for handler in list(logger.handlers):
        if handler.name == "console":
            logger.removeHandler(handler)
