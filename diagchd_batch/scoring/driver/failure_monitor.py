"""Monitors a run in its driver: passes progress on, and ends a run that fails too often or stands still."""

import time
from collections import Counter
from contextlib import suppress

from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.errors import ItemError, RunFault, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.results.columns import STATUS_OK
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.liveness.heartbeats import WorkerBeats, read_worker_beats
from diagchd_batch.scoring.liveness.progress_events import RunProgress, ShardSummary
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

FAILURES_JUDGED_FROM = 200
"""Frames from which on the failure limit holds. Of fewer, all may fail by chance or in a test of one bad folder."""

_POLL_S = 5.0
_WAITING_MESSAGE_AFTER_S = 60.0
_MAX_STARTS_PER_ACTOR = 5
"""Workers that may start for each actor without an image in between; one more than `max_attempts` if that is more."""
_MAX_STALL_TIMEOUTS = 2.5
"""Stall timeouts without progress after which the driver gives up: a worker may stall once and be replaced."""
_START_ALLOWANCE_S = 300.0
"""Added to that limit. A worker is slow to start on a busy node: Ray, TensorFlow and the model take over a minute."""


class FailureMonitor:
    """The callbacks of `run_shards`. Each raises RunFault to end the run.

    Args:
        progress: Gets the run's events.
        limits: The job's limits.
        actors: How many actors of which size were asked for.
        private: The private tree with a short timeout: monitoring must not wait as long as work may.
        run_id: The run.
        submission: The submission.
        outcomes: `ok` or error code → rows of the shards that were committed before.

    Attributes:
        has_seen_workers: Whether a worker of this submission has shown a sign of life.
    """

    def __init__(
        self,
        progress: RunProgress,
        limits: LimitsConfig,
        actors: ActorPlan,
        private: Store,
        run_id: str,
        submission: str,
        outcomes: Counter[str],
    ) -> None:
        self._progress = progress
        self._limits = limits
        self._actors = actors
        self._private = private
        self._run_id = run_id
        self._submission = submission
        self._outcomes = outcomes
        self._done: set[int] = set()
        self._workers_seen: frozenset[str] = frozenset()
        self._starts: set[str] = set()  # workers that appeared since the last image
        self._beats = WorkerBeats()
        self._began_s = self._polled_s = self._moved_s = time.monotonic()
        self._said_waiting = False

    @property
    def has_seen_workers(self) -> bool:
        """Whether any worker of this submission has reported so far."""
        return bool(self._workers_seen)

    def on_summary(self, summary: ShardSummary) -> None:
        """Count a shard that has ended. Raises RunFault if too many frames failed."""
        self._done.add(summary.shard)
        self._note_image()
        self._outcomes.update({STATUS_OK: summary.n_ok, **summary.failures})
        self._progress.shard_done(summary)
        self._refuse_failures()

    def on_tick(self) -> None:
        """Read the workers' heartbeats every few seconds. Raises RunFault if workers keep dying or nothing moves."""
        now_s = time.monotonic()
        if now_s - self._polled_s < _POLL_S:
            self._progress.workers(len(self._beats.workers))  # so that a line that is due can be shown
            return
        self._polled_s = now_s
        with suppress(StorageFault, ItemError):  # if it lasts, the workers, which wait longer, report it
            self._read_beats()
        self._say_if_waiting(now_s)
        self._refuse_dying_starts()
        self._refuse_standstill(now_s)

    def _read_beats(self) -> None:
        beats = read_worker_beats(self._private, self._run_id, self._submission)
        if started := beats.workers - self._workers_seen:
            self._starts |= started
            self._moved_s = time.monotonic()  # `_refuse_dying_starts` bounds how often
        if beats.images_done != self._beats.images_done:
            self._note_image()
        if lost := self._beats.workers - beats.workers:
            self._progress.message(
                f"{counted(len(lost), 'worker')} ended and will be replaced; shards in progress are tried again"
            )
        self._beats = beats
        self._workers_seen |= beats.workers
        self._progress.workers(len(beats.workers))
        self._progress.in_flight(sum(n for shard, n in beats.images_done.items() if shard not in self._done))

    def _note_image(self) -> None:
        self._starts.clear()
        self._moved_s = time.monotonic()

    def _refuse_failures(self) -> None:
        # A folder of DICOM files has reports and presentation states among its images, and nothing is wrong with it.
        total = self._outcomes.total() - self._outcomes[FailureCode.NOT_AN_IMAGE]
        failed = total - self._outcomes[STATUS_OK]
        limit = self._limits.max_failed_fraction
        if total >= FAILURES_JUDGED_FROM and failed > limit * total:
            codes = ", ".join(f"{code} {n:,}" for code, n in self._outcomes.most_common() if n and code != STATUS_OK)
            raise RunFault(
                f"{failed:,} of {counted(total, 'frame')} failed ({codes}), more than limits.max_failed_fraction = "
                f"{limit:g} allows; something is wrong with the input as a whole. Correct it and begin a new run, or "
                "resume this one with a higher limit"
            )

    def _say_if_waiting(self, now_s: float) -> None:
        if not (self._said_waiting or self._beats.workers) and now_s - self._began_s > _WAITING_MESSAGE_AFTER_S:
            self._said_waiting = True
            self._progress.message(
                f"still waiting for the first worker; it needs a node with {counted(self._actors.cpus, 'core', 'free')}"
                f" and {counted(self._actors.gpus, 'GPU')}"
            )

    def _refuse_dying_starts(self) -> None:
        """Raise RunFault if worker after worker dies before its first image: Ray would replace them for ever."""
        starts_per_actor = max(_MAX_STARTS_PER_ACTOR, self._limits.max_attempts + 1)
        if len(self._starts) > starts_per_actor * max(self._actors.initial_actors, len(self._beats.workers)):
            raise RunFault(
                f"{len(self._starts)} workers were started and none reached its first image; find out "
                "what kills them while the model is loaded (memory, GPU driver), then give the same command again"
            )

    def _refuse_standstill(self, now_s: float) -> None:
        n_live = len(self._beats.workers)
        limit_s = _MAX_STALL_TIMEOUTS * self._limits.stall_timeout_s + _START_ALLOWANCE_S
        if now_s - self._moved_s > limit_s:
            at_work = ", ".join(str(shard) for shard in sorted(self._beats.images_done)[:10]) or "none"
            raise RunFault(
                f"nothing moved for {limit_s:.0f} s: {counted(n_live, 'worker', 'live')}, shards at work: "
                f"{at_work}; check the workers' logs and nodes, then give the same command again"
            )
