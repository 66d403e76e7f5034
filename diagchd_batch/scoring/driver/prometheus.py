"""A run's metrics, on the Prometheus endpoint of the node that its driver runs on."""

import time

from ray.util.metrics import Counter, Gauge, Histogram

from diagchd_batch.scoring.liveness.progress_events import RunProgress, RunStart, ShardSummary

PREFIX = "diagchd_batch_"
"""The prefix of the metrics' names. Ray puts ``ray_`` before it."""

_SHARD_SECONDS = [1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0]
_RUN = ("run",)


class MeasuredProgress:
    """A `RunProgress` that counts events and passes them on. Create it once this process is connected to Ray.

    The share of time that devices were idle follows from two counters: the seconds that models computed, and the
    seconds that workers lived.

    Args:
        shown: Gets the events.
    """

    def __init__(self, shown: RunProgress) -> None:
        self._shown = shown
        self._images = Counter(f"{PREFIX}images", "Image files of committed shards.", _RUN)
        self._failures = Counter(f"{PREFIX}failures", "Failed rows, by error code.", ("run", "code"))
        self._shard_seconds = Histogram(
            f"{PREFIX}shard_seconds", "From a shard's start to its commit.", _SHARD_SECONDS, _RUN
        )
        self._model_seconds = Counter(f"{PREFIX}model_seconds", "Seconds that all workers' models computed.", _RUN)
        self._worker_seconds = Counter(f"{PREFIX}worker_seconds", "Seconds that all workers lived.", _RUN)
        self._workers = Gauge(f"{PREFIX}workers", "Workers alive.", _RUN)
        self._shards_left = Gauge(f"{PREFIX}shards_left", "Shards not committed: the depth of the queue.", _RUN)
        self._images_in_flight = Gauge(f"{PREFIX}images_in_flight", "Images done of shards not committed.", _RUN)
        self._tags: dict[str, str] = {}
        self._n_left = 0
        self._seen_s = time.monotonic()

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        self._shown.listed(n_objects)

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        self._tags = {"run": start.run_id}
        self._n_left = start.n_shards - start.done_shards
        self._shards_left.set(self._n_left, self._tags)
        self._seen_s = time.monotonic()
        self._shown.started(start)

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        self._images_in_flight.set(n_images, self._tags)
        self._shown.in_flight(n_images)

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""
        now_s = time.monotonic()
        self._workers.set(n_workers, self._tags)
        self._shards_left.set(self._n_left, self._tags)  # Ray drops a gauge that is not renewed for a while
        _add(self._worker_seconds, n_workers * (now_s - self._seen_s), self._tags)
        self._seen_s = now_s
        self._shown.workers(n_workers)

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        self._n_left -= 1
        self._shards_left.set(self._n_left, self._tags)
        if summary.committed:  # otherwise another worker committed and reported it
            _add(self._images, summary.n_images, self._tags)
            _add(self._model_seconds, summary.model_seconds, self._tags)
            self._shard_seconds.observe(summary.seconds, self._tags)
            for code, n_rows in summary.failures.items():
                _add(self._failures, n_rows, {**self._tags, "code": code})
        self._shown.shard_done(summary)

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._shown.message(text)


def _add(counter: Counter, value: float, tags: dict[str, str]) -> None:
    if value > 0:  # Ray refuses zero
        counter.inc(value, tags)
