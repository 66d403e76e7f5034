"""Measures for how long scoring holds Python's interpreter lock, with a model that costs nothing.

    python -m tools.measure_feed_lock [--images 600] [--batch 8] [--threads 2] [--lines 12]

It needs py-spy (MIT licence), which is no dependency of the project: `pip install py-spy`. A container must allow
ptrace.

The images are the bundled sample's PNG files on the grid 576 x 768, as in `diagchd-batch bench --feed`. Two py-spy
sample this process at once while it scores a shard: one records the threads that hold the lock, the other all threads
that run or could run. The share of the first in the second, times the processor time of an image, is the time for which
an image holds the lock. Other work on the machine stretches both records alike.
"""

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from diagchd_batch.model.spec import resolve_model
from diagchd_batch.runs.feed_benchmark import FeedRate, measure_rate

SAMPLES_PER_S = 200
ATTACHING_S = 3
WRITING_S = 60
SCORING_STACKS = ("shard_scorer.py", "_worker (concurrent")
"""A stack with one of these belongs to a shard that is scored: the thread that scores it, and those that help it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600, help="images that are scored (default 600)")
    parser.add_argument("--batch", type=int, default=8, help="images of a batch (default 8)")
    parser.add_argument("--threads", type=int, default=2, help="threads that decode (default 2)")
    parser.add_argument("--lines", type=int, default=12, help="lines of code that are printed (default 12)")
    arguments = parser.parse_args()

    def score() -> FeedRate:
        return measure_rate(
            resolve_model("diagchd", "seed:0", "float32"), arguments.images, arguments.threads, arguments.batch
        )

    score()  # imports, and files that the operating system keeps in memory
    with tempfile.TemporaryDirectory() as directory:
        spies = [_spy(Path(directory) / "holding", "--gil"), _spy(Path(directory) / "running")]
        time.sleep(ATTACHING_S)
        measured = score()
        for spy in spies:
            spy.send_signal(signal.SIGINT)
            said, _ = spy.communicate(timeout=WRITING_S)
            if spy.returncode:
                raise SystemExit(f"py-spy failed: {said.decode()}")
        holding, running = (_samples(Path(directory) / name) for name in ("holding", "running"))
    share = holding.total() / max(1, running.total())
    print(f"{arguments.images} images, batch {arguments.batch}, {arguments.threads} decoder threads")
    print(f"processor time: {measured.processor_ms:.2f} ms an image")
    print(f"interpreter lock: {share * measured.processor_ms:.2f} ms an image, {share:.0%} of the processor time")
    print(f"samples: {holding.total()} that hold the lock, {running.total()} that run")
    for line, samples in holding.most_common(arguments.lines):
        print(f"  {samples / max(1, holding.total()):4.0%}  {line}")


def _spy(record: Path, *options: str) -> "subprocess.Popen[bytes]":
    """Start a sampler of this process that writes its record when it is interrupted."""
    command = ["py-spy", "record", "--pid", str(os.getpid()), "--duration", "unlimited", "--format", "raw"]
    command += ["--nonblocking", "--rate", str(SAMPLES_PER_S), "--output", str(record), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _samples(record: Path) -> Counter[str]:
    """Return the samples of threads at work on images, by the line of code that ran."""
    samples: Counter[str] = Counter()
    for line in record.read_text(encoding="utf-8").splitlines():
        stack, _, number = line.rpartition(" ")
        if any(mark in stack for mark in SCORING_STACKS):
            samples[stack.rpartition(";")[2]] += int(number)
    return samples


if __name__ == "__main__":
    main()
