"""Compares the speed of two one-core actors in Ray with the same two scorers side by side without Ray.

    python -m tools.measure_ray_overhead [--images 2560] [--images-per-shard 128] [--repeats 3]

Both score the same shards of simulated pictures on a local disk with the bundled weights of the small network. The
speed is measured from the second commit to the last, so that the start of Ray and the loading of the model do not
count. The score files of both must be byte-identical. Run this on a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.scoring.driver.ray_data import SHARDS_IN_FLIGHT_PER_ACTOR
from diagchd_batch.scoring.driver.run_identity.identity import read_identity
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.worker_process import ShardWorker, read_outcomes
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.stored_plan import open_plan

MODEL = "diagchd-compact"
RUN_ID = "overhead"
SCORERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2560, help="number of pictures (default 2560)")
    parser.add_argument(
        "--images-per-shard",
        type=int,
        default=128,
        help="images per shard (default 128); a run with `auto` has 256 to 2,048",
    )
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements (default 3)")
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "archive"
        write_pictures(archive, arguments.images)
        for number in range(arguments.repeats):
            with_ray, without = Path(directory) / f"ray-{number}", Path(directory) / f"plain-{number}"
            score_with_ray(archive, with_ray, arguments.images_per_shard)
            score_without_ray(archive, with_ray, without)
            assert scores(with_ray) == scores(without), "the score files with and without Ray must be byte-identical"
            speeds = [speed(output, arguments.images_per_shard) for output in (with_ray, without)]
            ratios.append(speeds[0] / speeds[1])
            print(f"{speeds[0]:.2f} images/s through Ray, {speeds[1]:.2f} without: {ratios[-1]:.3f}", flush=True)
    print(f"median of {len(ratios)}: {statistics.median(ratios):.3f}")


def write_pictures(directory: Path, n_images: int) -> None:
    """Write smooth random pictures of 600 × 800 pixels, one per study."""
    generator = np.random.default_rng(0)
    for number in range(n_images):
        study = directory / f"study-{number:04d}"
        study.mkdir(parents=True)
        coarse = generator.integers(0, 256, (30, 40), np.uint8)
        Image.fromarray(coarse).resize((800, 600), Image.Resampling.BILINEAR).save(study / "image.png")


def score_with_ray(archive: Path, output: Path, images_per_shard: int) -> None:
    job = output.with_suffix(".yaml")
    settings = {
        "input": {"uri": str(archive), "layout": "tree"},
        "model": {"name": MODEL},
        "output": {"uri": str(output)},
        "shards": {"images_per_shard": images_per_shard},
        "cluster": {"actors": {"min": SCORERS, "max": SCORERS}, "cpus_per_actor": 1},
    }
    job.write_text(json.dumps(settings))  # JSON is YAML
    command = [sys.executable, "-m", "diagchd_batch", "submit", str(job), "--run-id", RUN_ID]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def score_without_ray(archive: Path, scored: Path, output: Path) -> None:
    """Score the shards of the run at `scored` again in two processes, each with every other shard."""
    shutil.copytree(scored / output_layout.PRIVATE, output / output_layout.PRIVATE)
    shutil.rmtree(output / output_layout.PRIVATE / output_layout.attempts_prefix(RUN_ID))
    with get_context("spawn").Pool(SCORERS) as pool:
        pool.starmap(score_every_other, [(archive, output, first) for first in range(SCORERS)], chunksize=1)


def score_every_other(archive: Path, output: Path, first: int) -> None:
    private = open_store(str(output / output_layout.PRIVATE))
    identity = read_identity(private, RUN_ID)
    assert identity is not None
    settings = RunSettings(
        run_id=RUN_ID,
        submission="plain",
        fingerprint=identity.fingerprint,
        input_uri=str(archive),
        output_uri=str(output),
        private_uri=private.uri,
        model=resolve_model(MODEL, "bundled", "float32"),
        batch_size=identity.batch_size,
        intra_op_threads=identity.intra_op_threads,
        decoder_threads=2,
        frame_rule="all",
        region="whole",
        label_map=None,
        limits=LimitsConfig(),
        simulated=False,
        has_masks=False,
    )
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for an actor with one core
    actor = ShardWorker(settings)
    shards = list(open_plan(private, RUN_ID).shards())[first::SCORERS]
    rows = [{name: [value] for name, value in asdict(shard).items()} for shard in shards]
    with ThreadPoolExecutor(SHARDS_IN_FLIGHT_PER_ACTOR) as calls:
        for outcome in calls.map(actor, rows):
            read_outcomes([outcome])


def scores(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "scores").rglob("*.parquet")}


def speed(output: Path, images_per_shard: int) -> float:
    """Return images/s after the first commits."""
    committed_ns = sorted(path.stat().st_mtime_ns for path in (output / "scores").rglob("*.parquet"))
    began_ns, timed = committed_ns[SCORERS - 1], committed_ns[SCORERS:]
    return len(timed) * images_per_shard * 1e9 / (timed[-1] - began_ns)


if __name__ == "__main__":
    main()
