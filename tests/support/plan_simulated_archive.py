"""Plans an archive with a simulated listing, and prints the time and memory that this took as JSON.

    python -m tests.support.plan_simulated_archive N_IMAGES tree|manifest|frames|new|diagchd|dicom DIRECTORY [SHARE]

It runs in a separate process, so that its peak memory is that of planning and of a driver's start alone. `frames` uses
a manifest that names a frame of each file. `new` plans the images that were added after a plan of layout `tree`, as
nightly runs do. `diagchd` has a mask for each image, and in `dicom` a third of the studies has two copies of each file.

A SHARE of 0.2 gives the database a fifth of its memory, and passes of a fifth of the rows. A million images then strain
the memory as five million do.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.storage import open_store
from diagchd_batch.studies import passes
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import DEFAULT_MEMORY_BYTES, freeze_plan
from diagchd_batch.studies.plan.selection import new_since
from diagchd_batch.studies.plan.stored_plan import open_plan
from tests.support.process_memory import peak_bytes
from tests.unit.studies.archives import SimulatedListing

IMAGES_PER_STUDY = 3
HEADERS_PER_BATCH = 30_000  # a multiple of the images of three studies
N_NEW_IMAGES = 300


def keys(n_images: int) -> Iterator[str]:
    for image in range(n_images):
        study, frame = divmod(image, IMAGES_PER_STUDY)
        yield f"archive/2019/study-{study:08d}/frame-{frame:03d}.png"


def diagchd_keys(n_images: int) -> Iterator[str]:
    for image in range(n_images):
        for kind in ("IMAGE", "MASK"):
            yield f"{kind}/{image % 2}/patient-{image:08d}.png"


def headers(n_images: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an index of headers, with a second copy of each image in every third study."""
    for first in range(0, n_images, HEADERS_PER_BATCH):
        images = range(first, min(first + HEADERS_PER_BATCH, n_images))
        copies = [(image, copy) for image in images for copy in range(1 + (image // IMAGES_PER_STUDY % 3 == 0))]
        studies = [image // IMAGES_PER_STUDY for image, _ in copies]
        texts = {
            "key": [f"disk-{copy}/{image:08d}.dcm" for image, copy in copies],
            "etag": [f"etag-{image:032d}" for image, _ in copies],
            "kind": ["image"] * len(copies),
            "study_uid": [f"1.2.840.99999.1.{study:010d}" for study in studies],
            "sop_uid": [f"1.2.840.99999.2.{image:010d}" for image, _ in copies],
            "sop_class_uid": ["1.2.840.10008.5.1.4.1.1.6.1"] * len(copies),
            "modality": ["US"] * len(copies),
            "patient_id": [f"patient-{study // 2:08d}" for study in studies],
            "accession_number": [f"A{study:010d}" for study in studies],
        }
        columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
        numbers = {name: pa.array([1] * len(copies), pa.int64()) for name in ("size_bytes", "modified_ns", "n_frames")}
        missing = {name: pa.nulls(len(copies), pa.string()) for name in _NOT_IN_HEADERS}
        yield pa.record_batch({**columns, **numbers, **missing, "study_date": pa.nulls(len(copies), pa.date32())})


_NOT_IN_HEADERS = ("manufacturer", "issuer_of_patient_id", "mother_id", "body_part", "series_description")


def write_manifest(path: Path, n_images: int, *, with_frames: bool) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("study_id,subject_id,uri,frame,label\n")
        for image, key in enumerate(keys(n_images)):
            study, frame = divmod(image, IMAGES_PER_STUDY)
            file.write(f"study-{study:08d},subject-{study // 2},{key},{frame if with_frames else ''},{study % 2}\n")


def main(n_images: int, inventory: str, directory: Path, share: float = 1.0) -> dict[str, float]:
    passes.ROWS_PER_PASS = int(passes.ROWS_PER_PASS * share)
    memory = int(DEFAULT_MEMORY_BYTES * share)
    if inventory in ("tree", "new"):
        config = InputConfig(uri="simulated", layout="tree")
    elif inventory in ("diagchd", "dicom"):
        config = InputConfig(uri="simulated", layout=inventory)
    else:
        manifest = directory / "studies.csv"
        write_manifest(manifest, n_images, with_frames=inventory == "frames")
        config = InputConfig(uri="simulated", layout="manifest", manifest=str(manifest))
    private = open_store(str(directory / "private"), owner_only=True)
    listing = SimulatedListing(diagchd_keys(n_images) if inventory == "diagchd" else keys(n_images))
    start = time.monotonic()
    tokens = Pseudonymizer(b"a key for simulated archives")
    freeze_plan(
        config,
        ShardsConfig(),
        listing,  # type: ignore[arg-type]
        private,
        "run",
        tokens,
        headers=lambda: headers(n_images),
        max_memory_bytes=memory,
    )
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
            max_memory_bytes=memory,
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
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *map(float, sys.argv[4:]))))
