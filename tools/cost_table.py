"""Computes hours, machine hours, cost and space for archives of a given size from a measured speed.

The speed comes from `diagchd-batch bench --json` on the machine that will do the work, or from the `run.json` of a
finished run. The speed of a run is that of all its workers together; give their number with --measured-workers. The
prices are those that you give; none is built in.

    diagchd-batch bench --json > bench.json
    python -m tools.cost_table bench.json --price-per-hour 1.20 --head-price-per-hour 0.20 --output s3://results/pilot
    python -m tools.cost_table bench.json … --write docs/operations.md       # replaces the table in the page
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagchd_batch import output_layout
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.plan.sharding import images_per_shard

BEGIN, END = "<!-- cost table: begin -->", "<!-- cost table: end -->"


@dataclass(frozen=True, slots=True)
class Machines:
    """Speed and price of one worker, price of the head, and the minutes that a machine needs to start."""

    images_per_s: float
    price_per_hour: float | None
    head_price_per_hour: float
    start_minutes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    n_images: int
    n_workers: int
    hours: float
    machine_hours: float
    cost: float | None


def estimate(n_images: int, n_workers: int, machines: Machines) -> Estimate:
    """Return the estimate for one archive and one number of workers.

    The speed is proportional to the number of workers. Workers are paid from their start on, and the head is paid all
    the time. There are never more workers than shards, because a worker takes whole shards.
    """
    n_workers = min(n_workers, -(-n_images // images_per_shard(n_images, "auto")))
    hours = machines.start_minutes / 60 + n_images / (machines.images_per_s * n_workers) / 3600
    cost = None
    if machines.price_per_hour is not None:
        cost = hours * (n_workers * machines.price_per_hour + machines.head_price_per_hour)
    return Estimate(n_images, n_workers, hours, hours * n_workers, cost)


def measured_images_per_s(document: dict[str, Any]) -> float:
    """Return the end-to-end images per second of a bench report or a run record.

    Raises:
        ValueError: The document holds no such speed.
    """
    found = document.get("images_per_s", document)
    speed = found.get("end_to_end") if isinstance(found, dict) else found
    if not isinstance(speed, int | float) or speed <= 0:
        raise ValueError(
            "neither a report of `bench --json` nor the run.json of a finished run: no end-to-end images/s"
        )
    return float(speed)


def stored_bytes_per_image(output: Store) -> float:
    """Return the bytes of an output, including its private tree, per image file of its finished runs.

    Raises:
        ValueError: The output holds no finished run.
    """
    size_bytes, n_images = 0, 0
    for info in output.list():
        size_bytes += info.size_bytes or 0
        if output_layout.RUN_RECORD.fullmatch(info.key):
            counts = RunRecord.model_validate_json(output.read(info.key)).counts
            n_images += counts.n_images if counts else 0
    if not n_images:
        raise ValueError(f"{output.place} holds no finished run to measure")
    return size_bytes / n_images


def table(estimates: Sequence[Estimate], bytes_per_image: float | None) -> str:
    """Return the estimates as a Markdown table, without columns that have no values."""
    columns = ["images", "workers", "hours", "machine hours"]
    priced, stored = estimates[0].cost is not None, bytes_per_image is not None
    columns += ["cost"] * priced + ["output, GB"] * stored
    rows = [columns, ["---:"] * len(columns)]
    for entry in estimates:
        row = [f"{entry.n_images:,}", f"{entry.n_workers:,}", f"{entry.hours:,.1f}", f"{entry.machine_hours:,.1f}"]
        if entry.cost is not None:
            row.append(f"{entry.cost:,.2f}")
        if bytes_per_image is not None:
            row.append(f"{entry.n_images * bytes_per_image / 1e9:,.1f}")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def report(arguments: argparse.Namespace, command: Sequence[str]) -> str:
    """Return the table, below the command that made it and the measurement that it is based on."""
    document = json.loads(arguments.measurement.read_text(encoding="utf-8"))
    speed = measured_images_per_s(document) / arguments.measured_workers
    machines = Machines(speed, arguments.price_per_hour, arguments.head_price_per_hour, arguments.start_minutes)
    estimates = [estimate(n, workers, machines) for n in arguments.images for workers in arguments.workers]
    bytes_per_image = stored_bytes_per_image(open_store(arguments.output)) if arguments.output else None
    devices = document.get("devices") or [document.get("device") or "device not said"]
    lines = [
        f"`python -m tools.cost_table {shlex.join(command)}`",
        "",
        f"{speed:,.1f} images/s a worker ({', '.join(sorted(set(map(str, devices))))}), "
        f"{arguments.start_minutes:g} minutes for a machine to start"
        + (f", {bytes_per_image:,.0f} bytes of output an image" if bytes_per_image is not None else ""),
        "",
        table(list(dict.fromkeys(estimates)), bytes_per_image),
    ]
    return "\n".join(lines)


def write_between_markers(page: Path, text: str) -> None:
    """Replace the text between the page's markers.

    Raises:
        ValueError: The page has no markers.
    """
    old = page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def parse(command: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hours, cost and space for an archive, from a measured speed.")
    parser.add_argument("measurement", type=Path, help="output of `diagchd-batch bench --json`, or a run.json")
    parser.add_argument(
        "--measured-workers", type=int, default=1, help="number of workers in the measured run (default 1)"
    )
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 10_000_000], help="sizes of archives")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64], help="numbers of workers")
    parser.add_argument("--price-per-hour", type=float, help="price of one worker's machine, in your currency")
    parser.add_argument("--head-price-per-hour", type=float, default=0.0, help="price of the head's machine")
    parser.add_argument(
        "--start-minutes", type=float, default=0.0, help="time from the request for a machine to its first image"
    )
    parser.add_argument("--output", help="output of a pilot run, to measure the space per image")
    parser.add_argument("--write", type=Path, help="page whose table is replaced, between its markers")
    return parser.parse_args(command)


def main() -> int:
    command = sys.argv[1:]
    arguments = parse(command)
    try:
        text = report(arguments, command)
        if arguments.write:
            write_between_markers(arguments.write, text)
        else:
            print(text)
    except (OSError, ValueError) as error:
        print(f"cost_table: {error}", file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
