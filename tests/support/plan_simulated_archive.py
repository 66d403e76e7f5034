"""Plans an archive with a simulated listing, and prints the time and memory that this took as JSON.

    python -m tests.support.plan_simulated_archive N_IMAGES tree|manifest|frames|new DIRECTORY

It runs in a separate process, so that its peak memory is that of planning and of a driver's start alone. `frames` uses
a manifest that names a frame of each file. `new` plans the images that were added after a plan of the whole archive, as
nightly runs do.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.selection import new_since
from diagchd_batch.studies.plan.stored_plan import open_plan
from tests.support.process_memory import peak_bytes
from tests.unit.studies.archives import SimulatedListing

IMAGES_PER_STUDY = 3
N_NEW_IMAGES = 300


def keys(n_images: int) -> Iterator[str]:
    for image in range(n_images):
        study, frame = divmod(image, IMAGES_PER_STUDY)
        yield f"archive/2019/study-{study:08d}/frame-{frame:03d}.png"


def write_manifest(path: Path, n_images: int, *, with_frames: bool) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("study_id,subject_id,uri,frame,label\n")
        for image, key in enumerate(keys(n_images)):
            study, frame = divmod(image, IMAGES_PER_STUDY)
            file.write(f"study-{study:08d},subject-{study // 2},{key},{frame if with_frames else ''},{study % 2}\n")


def main(n_images: int, inventory: str, directory: Path) -> dict[str, float]:
    if inventory in ("tree", "new"):
        config = InputConfig(uri="simulated", layout="tree")
    else:
        manifest = directory / "studies.csv"
        write_manifest(manifest, n_images, with_frames=inventory == "frames")
        config = InputConfig(uri="simulated", layout="manifest", manifest=str(manifest))
    private = open_store(str(directory / "private"), owner_only=True)
    listing = SimulatedListing(keys(n_images))
    start = time.monotonic()
    tokens = Pseudonymizer(b"a key for simulated archives")
    freeze_plan(config, ShardsConfig(), listing, private, "run", tokens)  # type: ignore[arg-type]
    if inventory == "new":
        start = time.monotonic()
        plan = open_plan(private, "run")
        night = freeze_plan(
            config,
            ShardsConfig(),
            SimulatedListing(keys(n_images + N_NEW_IMAGES)),  # type: ignore[arg-type]
            private,
            "night",
            tokens,
            select=new_since([plan]),
        )
        assert night.head.n_images == N_NEW_IMAGES
    planned = time.monotonic()
    plan = open_plan(private, "run")
    shards = list(plan.shards())
    first_shard = plan.read_shard(shards[0])
    return {
        "n_images": plan.head.n_images,
        "n_shards": len(shards),
        "n_missing": plan.head.n_missing,
        "n_images_of_first_shard": len(first_shard),
        "planning_s": planned - start,
        "opening_s": time.monotonic() - planned,
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
