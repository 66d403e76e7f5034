"""Logs a run's progress for programs: one JSON object per line, with the time and the run, without identifiers."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from diagchd_batch.cli.console import say
from diagchd_batch.cli.silence import LINE_INTERVAL_S
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary


class JsonProgress:
    """A `RunProgress` for log collectors. The events are listed, started, progress, shard and message.

    Args:
        write: Receives each line.
    """

    def __init__(self, write: Callable[[str], None] = say) -> None:
        self._write = write
        self._run: str | None = None
        self._workers = 0
        self._last_s = float("-inf")
        self._n_listed: int | None = None
        self._n_listed_shown: int | None = None

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        self._n_listed = n_objects
        if self._due():
            self._complete_listing()

    def _complete_listing(self) -> None:
        """Tell the last number of listed objects if it was not due when it came."""
        if self._n_listed is not None and self._n_listed != self._n_listed_shown:
            self._tell("listed", n_objects=self._n_listed)
            self._n_listed_shown = self._n_listed

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        self._complete_listing()
        self._run = start.run_id
        self._tell(
            "started",
            n_images=start.n_images,
            n_shards=start.n_shards,
            done_images=start.done_images,
            done_shards=start.done_shards,
            resumed=start.resumed,
        )

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""
        self._workers = n_workers

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        if self._due():
            self._tell("progress", images_in_flight=n_images, workers=self._workers)

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        self._tell(
            "shard",
            shard=summary.shard,
            attempt=summary.attempt,
            committed=summary.committed,
            n_images=summary.n_images,
            n_ok=summary.n_ok,
            failures=dict(summary.failures),
            seconds=round(summary.seconds, 3),
            model_seconds=round(summary.model_seconds, 3),
        )

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._tell("message", text=text)

    def _tell(self, event: str, **facts: Any) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": moment, "event": event, "run": self._run, **facts}))

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._last_s < LINE_INTERVAL_S:
            return False
        self._last_s = now_s
        return True
