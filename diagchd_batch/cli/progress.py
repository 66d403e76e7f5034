"""Shows a run's progress: a live bar on a terminal, and otherwise a line every five seconds."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from diagchd_batch.cli.console import duration, say
from diagchd_batch.cli.json_progress import JsonProgress
from diagchd_batch.cli.silence import LINE_INTERVAL_S
from diagchd_batch.escaping import for_console
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

SETTLED_AFTER_S = 10.0
"""Before that, and before SETTLED_SHARE of the images, a rate says little, so no remaining time is told."""
SETTLED_SHARE = 0.1
_BESIDE_DETAIL_COLUMNS = 30
"""What the spinner, the word, a bar of ten characters, the percentage and the gaps need of a terminal's line."""
_LOADING_TAKES = "about half a minute"
LOG_VARIABLE = "DIAGCHD_BATCH_LOG"
"""Set it to ``json`` for a log that programs read."""


class _Counts:
    """Images and failures so far, and the rate.

    The rate covers neither the workers' start nor what a resumed run had done before.
    """

    def __init__(self, start: RunStart) -> None:
        self.start = start
        self.began_s = time.monotonic()
        self.images = 0
        self.shards = 0
        self.in_flight = 0
        self.failures: Counter[str] = Counter()

    def note_in_flight(self, in_flight: int) -> None:
        if not (self.images or in_flight):
            self.began_s = time.monotonic()
        self.in_flight = in_flight

    def add(self, summary: ShardSummary) -> None:
        self.images += summary.n_images
        self.shards += 1
        self.in_flight = max(0, self.in_flight - summary.n_images)
        self.failures.update(summary.failures)

    @property
    def done(self) -> int:
        return min(self.start.done_images + self.images + self.in_flight, self.start.n_images)

    @property
    def images_per_s(self) -> float:
        elapsed_s = time.monotonic() - self.began_s
        return (self.images + self.in_flight) / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def remaining(self) -> str:
        rate = self.images_per_s
        seen = self.images + self.in_flight
        left = self.start.n_images - self.done
        is_settled = time.monotonic() - self.began_s >= SETTLED_AFTER_S or seen >= SETTLED_SHARE * (left + seen)
        return duration(left / rate) if rate > 0 and is_settled else "not known yet"

    @property
    def failed(self) -> str:
        if not self.failures:
            return "no failures"
        return "failed: " + ", ".join(f"{code} {count}" for code, count in self.failures.most_common())


class LineProgress:
    """Progress for logs and pipes: a line when something begins or ends, and every five seconds in between.

    Args:
        write: Receives each line.
    """

    def __init__(self, write: Callable[[str], None] = say) -> None:
        self._write = write
        self._counts: _Counts | None = None
        self._last_line_s = float("-inf")
        self._workers = 0
        self._n_listed: int | None = None
        self._n_listed_shown: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._complete_listing()

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        self._n_listed = n_objects
        if self._due():
            self._complete_listing()

    def _complete_listing(self) -> None:
        """Write the last number of listed objects if it was not due when it came."""
        if self._n_listed is not None and self._n_listed != self._n_listed_shown:
            self._write(f"planning: {counted(self._n_listed, 'object')} listed")
            self._n_listed_shown = self._n_listed

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        self._complete_listing()
        self._counts = _Counts(start)
        self._write(_headline(start))
        self._line(at_once=self._counts.done < start.n_images)

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        if self._counts:
            self._counts.note_in_flight(n_images)
            self._line()

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""
        self._workers = n_workers
        self._line()

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        if self._counts:
            self._counts.add(summary)
            self._line(at_once=self._counts.done == self._counts.start.n_images)

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._write(text)

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._last_line_s < LINE_INTERVAL_S:
            return False
        self._last_line_s = now_s
        return True

    def _line(self, at_once: bool = False) -> None:
        counts = self._counts
        if counts is None or not (at_once or self._due()):
            return
        self._last_line_s = time.monotonic()
        done = f"{counts.done:,} of {counted(counts.start.n_images, 'image')}"
        if not (counts.images or counts.in_flight):
            doing = f"the workers load the model, {_LOADING_TAKES}" if self._workers else "no worker is there yet"
            self._write(f"starting: {doing} · {done} · workers: {self._workers}")
            return
        shards = counts.start.done_shards + counts.shards
        self._write(
            f"scoring: {done} · shard {shards:,} of {counts.start.n_shards:,} · {counts.images_per_s:.1f} images/s · "
            f"remaining {counts.remaining} · workers: {self._workers} · {counts.failed}"
        )


class BarProgress:
    """Progress for a terminal: one live line.

    Args:
        console: The terminal; stderr by default.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            expand=True,
        )
        self._task = self._progress.add_task("planning", total=None, detail="")
        self._counts: _Counts | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        self._progress.update(self._task, detail=f"{counted(n_objects, 'object')} listed")

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        self._counts = _Counts(start)
        self._console.print(for_console(_headline(start)), highlight=False, markup=False)
        self._progress.update(self._task, description="scoring", total=start.n_images)
        self._show()

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        if self._counts:
            self._counts.note_in_flight(n_images)
            self._show()

    def workers(self, n_workers: int) -> None:
        """Do nothing: on one machine the number of workers is not worth a place in the line."""

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        if self._counts:
            self._counts.add(summary)
            self._show()

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._console.print(for_console(text), highlight=False, markup=False)

    def _show(self) -> None:
        counts = self._counts
        if counts is None:
            return
        place = f"{counts.done:,}/{counts.start.n_images:,}"
        speed = f"{counts.images_per_s:.1f} images/s"
        left = f"left: {counts.remaining}"
        if not counts.images_per_s:
            speed, left = f"the workers load the model, {_LOADING_TAKES}", "workers are starting"
        n_failed = counts.failures.total()
        few = f"{n_failed:,} failed"
        texts = [[place, speed, left, counts.failed], [place, speed, left, few], [place, left, few], [left, few]]
        lines = [" · ".join(parts) for parts in texts]
        fitting = [line for line in lines if len(line) <= self._console.width - _BESIDE_DETAIL_COLUMNS]
        detail = next(iter(fitting), few)
        self._progress.update(self._task, completed=counts.done, detail=detail)


class LoggedProgress:
    """Progress that is shown, and kept as lines.

    Args:
        shown: Shows it.
        note: Receives each line that is kept.
    """

    def __init__(self, shown: BarProgress | LineProgress, note: Callable[[str], None]) -> None:
        self._both = (shown, LineProgress(note))

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        for progress in self._both:
            progress.listed(n_objects)

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        for progress in self._both:
            progress.started(start)

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        for progress in self._both:
            progress.in_flight(n_images)

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""
        for progress in self._both:
            progress.workers(n_workers)

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        for progress in self._both:
            progress.shard_done(summary)

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        for progress in self._both:
            progress.message(text)


def run_progress() -> BarProgress | LineProgress:
    """Return a bar if stderr is a terminal, and lines otherwise."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def log_progress(environ: Mapping[str, str], write: Callable[[str], None] = say) -> LineProgress | JsonProgress:
    """Return the progress of a job on a cluster: lines for people, or JSON if DIAGCHD_BATCH_LOG is ``json``.

    Args:
        environ: The environment variables.
        write: Receives each line.
    """
    return JsonProgress(write) if environ.get(LOG_VARIABLE) == "json" else LineProgress(write)


@contextmanager
def image_progress(action: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show how many images of a known number are done: a live bar on a terminal, and otherwise a line every 5 s.

    Args:
        action: What is done with the images, which begins each line.

    Yields:
        A function of the images so far, the number of all, and further text, which is called after each image.
    """
    began_s = time.monotonic()

    def rate(n_done: int, n_all: int) -> str:
        per_s = n_done / max(time.monotonic() - began_s, 1e-3)
        return f"{per_s:.1f} images/s · remaining {duration((n_all - n_done) / per_s)}"

    if not sys.stderr.isatty():
        last_s = began_s

        def write_line(n_done: int, n_all: int, text: str) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= LINE_INTERVAL_S:
                last_s = time.monotonic()
                say(f"{action}: {n_done:,} of {counted(n_all, 'image')} · {rate(n_done, n_all)} · {text}")

        yield write_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TaskProgressColumn())
    detail = TextColumn("{task.fields[detail]}", markup=False)
    with Progress(*columns, detail, console=Console(stderr=True), expand=True) as bar:
        task = bar.add_task(action, total=None, detail="")
        yield lambda n_done, n_all, text: bar.update(
            task, total=n_all, completed=n_done, detail=f"{n_done:,}/{n_all:,} · {rate(n_done, n_all)} · {text}"
        )


def _headline(start: RunStart) -> str:
    text = f"run {start.run_id}: {counted(start.n_images, 'image')} in {counted(start.n_shards, 'shard')}"
    done = f"done already: {counted(start.done_shards, 'shard')} ({counted(start.done_images, 'image')})"
    if start.shared:
        text += f"; another submission works on it, and this one helps; {done}"
    elif start.resumed:
        text += f"; resumed, {done}"
    return text
