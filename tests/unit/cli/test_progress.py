"""The figures on the progress display."""

import io
import itertools
import sys
import time
from typing import Any

import pytest
from rich.console import Console

from diagchd_batch.cli import progress
from diagchd_batch.cli.silence import SILENT_AT_MOST_S
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    return clock


class Clock:
    now_s = 1000.0


def start(**changes: Any) -> RunStart:
    facts: dict[str, Any] = {
        "run_id": "r",
        "n_images": 100,
        "n_shards": 10,
        "done_images": 0,
        "done_shards": 0,
        "resumed": False,
    }
    return RunStart(**(facts | changes))


def summary(n_images: int) -> ShardSummary:
    return ShardSummary(shard=0, n_images=n_images, n_ok=n_images, n_failed=0)


def test_the_number_of_listed_objects_is_completed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.LineProgress()
    for n_objects in (2, 30, 46, 46):
        display.listed(n_objects)
    display.started(start())
    first, second, third, fourth = capsys.readouterr().err.splitlines()
    assert ("2 objects listed" in first, "46 objects listed" in second, "run r" in third) == (True, True, True)
    assert fourth.startswith("starting: no worker is there yet")
    with progress.LineProgress() as display:  # `plan` starts no run
        for n_objects in (1, 7):
            display.listed(n_objects)
    assert [line.split()[-3] for line in capsys.readouterr().err.splitlines()] == ["1", "7"]


def test_the_start_of_workers_is_not_in_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.LineProgress()
    display.started(start())
    for _ in range(4):  # Meanwhile the workers load the model.
        clock.now_s += 10
        display.in_flight(0)
    clock.now_s += 10
    display.in_flight(20)
    assert "20 of 100 images · shard 0 of 10 · 2.0 images/s · remaining 40 s" in capsys.readouterr().err


def test_lines_tell_what_happens_while_workers_start(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.LineProgress()
    display.started(start(done_images=50, done_shards=5, resumed=True))
    for second in range(20):
        clock.now_s += 1
        display.workers(0 if second < 10 else 2)
    display.in_flight(3)
    clock.now_s += 5
    display.workers(2)
    _, *lines = capsys.readouterr().err.splitlines()
    absent = "starting: no worker is there yet · 50 of 100 images · workers: 0"
    loading = "starting: the workers load the model, about half a minute · 50 of 100 images · workers: 2"
    assert lines[:-1] == [absent, absent, absent, loading, loading]
    assert "scoring: 53 of 100 images" in lines[-1]


def test_no_line_about_silence_falls_between_lines_of_progress(clock: Clock) -> None:
    written_s = []
    display = progress.LineProgress(lambda text: written_s.append(clock.now_s))
    display.started(start())
    for second in range(60):  # the driver's ticks, its looks at heartbeats, and shards that end at any moment
        clock.now_s += 1.4  # a busy machine
        display.workers(2)
        if second % 5 == 0:
            display.in_flight(second)
        if second % 7 == 3:
            display.shard_done(summary(1))
    silences_s = [after - before for before, after in itertools.pairwise(written_s)]
    assert len(silences_s) > 10 and max(silences_s) < SILENT_AT_MOST_S


def test_what_was_done_before_is_not_in_the_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.LineProgress()
    display.started(start(done_images=50, done_shards=5, resumed=True))
    display.in_flight(0)
    clock.now_s += 20
    display.shard_done(summary(10))
    assert "60 of 100 images · shard 6 of 10 · 0.5 images/s · remaining 1 min 20 s" in capsys.readouterr().err


def test_the_last_image_is_told_without_waiting(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.LineProgress()
    display.started(start(n_images=10, n_shards=1))
    display.in_flight(0)
    clock.now_s += 1
    display.shard_done(summary(10))
    assert "10 of 10 images" in capsys.readouterr().err


def test_images_of_an_export_are_told_every_five_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.image_progress("export") as show:
        for n_done in range(1, 31):
            clock.now_s += 1
            show(n_done, 40, f"{n_done} new objects")
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"export: {n} of 40 images · 1.0 images/s · remaining {40 - n} s · {n} new objects" for n in range(5, 35, 5)
    ]


def test_images_of_an_export_are_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress.image_progress("export") as show:
        show(10, 40, "10 new objects")
    assert "25%" in (told := capsys.readouterr().err)
    assert "10/40" in told and "10 new objects" in told


def test_an_early_rate_tells_no_remaining_time(clock: Clock) -> None:
    counts = progress._Counts(start(n_images=10_000))
    clock.now_s += progress.SETTLED_AFTER_S / 2
    counts.note_in_flight(16)
    assert counts.remaining == "not known yet"
    clock.now_s += progress.SETTLED_AFTER_S
    counts.note_in_flight(150)
    assert counts.remaining == "16 min 25 s"


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_bar_stays_in_sight_whatever_fails(clock: Clock, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    display = progress.BarProgress(console)
    display.started(start(n_images=100_000, n_shards=300))
    display.in_flight(0)
    clock.now_s += 100
    failures = {"decode_error": 12, "unsupported_format": 3, "source_changed": 1, "decode_timeout": 1}
    display.shard_done(ShardSummary(shard=0, n_images=2048, n_ok=2031, n_failed=17, failures=failures))
    with console.capture() as shown:
        console.print(display._progress.get_renderable())
    (line,) = shown.get().splitlines()
    assert line.index("2%") - line.index("scoring") >= 15 and "…" not in line
    assert "2%" in line and "left: 1 h 19 min" in line
    assert "17 failed" in line or "decode_timeout 1" in line


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "run r: 100 images in 10 shards"),
        ({"resumed": True, "done_images": 20, "done_shards": 2}, "; resumed, done already: 2 shards (20 images)"),
        ({"resumed": True, "shared": True, "done_shards": 2}, "; another submission works on it, and this one helps"),
    ],
)
def test_the_headline_tells_a_resumed_run_from_one_that_another_submission_works_on(
    clock: Clock, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], text: str
) -> None:
    kept: list[str] = []
    shown = progress.LoggedProgress(progress.LineProgress(), kept.append)
    shown.started(start(**changes))
    shown.message("a node is waited for")
    printed = capsys.readouterr().err
    assert text in printed and ("resumed" in printed) == ("resumed, " in text)
    assert kept == printed.splitlines()
