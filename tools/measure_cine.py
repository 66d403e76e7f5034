"""Compares the decoding of JPEG cine loops with that of pydicom: frames per second and memory.

    python -m tools.measure_cine [--loops 100] [--frames 100] [--without-pydicom]

The program's side is a shard without Ray: loops are read from a local disk, decoded on two threads, resized to the
model's grid, scored by a model that costs nothing, and encoded to rows. The other side is `pydicom.pixels.iter_pixels`
in one process, which only decodes. Both read the same generated loops of 800 x 600 pixels. They take turns, ten loops
at a time, so that a load from elsewhere falls on both.
"""

import argparse
import io
import resource
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec, resolve_model
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.worker.pipeline import ModelLease, ShardPipeline
from diagchd_batch.scoring.worker.shard_scorer import FRAMES_AHEAD_PER_THREAD, PIXEL_BYTES_IN_FLIGHT
from diagchd_batch.sources import open_source
from diagchd_batch.studies.plan.planned_images import PlannedImage

HEIGHT, WIDTH = 600, 800
THREADS = 2
LOOPS_A_TURN = 10
MODEL = "diagchd-compact"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=100, help="number of loops (default 100)")
    parser.add_argument("--frames", type=int, default=100, help="frames of a loop (default 100)")
    parser.add_argument("--without-pydicom", action="store_true", help="measure the program's side alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory)
        write_loops(archive, arguments.loops, arguments.frames)
        keys = sorted(path.name for path in archive.iterdir())
        megabytes = sum((archive / key).stat().st_size for key in keys) / 1e6
        print(f"{len(keys)} loops of {arguments.frames} frames of {WIDTH} x {HEIGHT}, {megabytes:,.0f} MB")
        ours_s = theirs_s = processor_s = 0.0
        for start in range(0, len(keys), LOOPS_A_TURN):
            turn = keys[start : start + LOOPS_A_TURN]
            used_s = time.process_time()
            ours_s += seconds_of_the_pipeline(archive, turn)
            processor_s += time.process_time() - used_s
            theirs_s += 0.0 if arguments.without_pydicom else seconds_of_pydicom(archive, turn)
            if start in (0, len(keys) // 2 // LOOPS_A_TURN * LOOPS_A_TURN) or turn[-1] == keys[-1]:
                print(f"after {start + len(turn)} loops: peak memory {peak_mib():,.0f} MiB")
    n_frames = arguments.frames * len(keys)
    print(f"pipeline on {THREADS} threads: {n_frames / ours_s:,.0f} frames/s, {processor_s / ours_s:.2f} cores busy")
    if theirs_s:
        print(f"pydicom iter_pixels: {n_frames / theirs_s:,.0f} frames/s")
        print(f"ratio: {theirs_s / ours_s:.2f}")


def write_loops(directory: Path, n_loops: int, n_frames: int) -> None:
    """Write loops of noise in a moving sector, as YBR_FULL_422 in JPEG baseline with an offset table.

    Args:
        directory: Where they are written.
        n_loops: Number of loops.
        n_frames: Frames of each. All loops have the same frames in another order, because drawing takes long.
    """
    random_numbers = np.random.default_rng(1)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    depth, side = np.hypot(rows, columns - WIDTH / 2), np.abs(columns - WIDTH / 2)
    in_sector = (side < 0.8 * rows) & (depth < 0.95 * HEIGHT)
    frames = []
    for number in range(n_frames):
        speckle = np.asarray(
            Image.fromarray(random_numbers.integers(0, 255, (HEIGHT // 4, WIDTH // 4), np.uint8)).resize(
                (WIDTH, HEIGHT)
            )
        )
        shade = 0.6 + 0.4 * np.sin(depth / 25 + number / 8)
        picture = np.repeat((speckle * shade * in_sector).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=85, subsampling=1)
        frames.append(buffer.getvalue())
    for loop in range(n_loops):
        _loop([*frames[loop % n_frames :], *frames[: loop % n_frames]]).save_as(
            directory / f"loop-{loop:05d}.dcm", enforce_file_format=True
        )


def _loop(frames: Sequence[bytes]) -> Dataset:
    loop = Dataset()
    loop.SOPClassUID, loop.SOPInstanceUID = UltrasoundMultiFrameImageStorage, "2.25.1"
    loop.SamplesPerPixel, loop.PhotometricInterpretation, loop.PlanarConfiguration = 3, "YBR_FULL_422", 0
    loop.Rows, loop.Columns, loop.NumberOfFrames, loop.FrameTime = HEIGHT, WIDTH, len(frames), 20
    loop.BitsAllocated, loop.BitsStored, loop.HighBit, loop.PixelRepresentation = 8, 8, 7, 0
    loop.PixelData = encapsulate(list(frames))
    loop["PixelData"].VR = "OB"
    loop["PixelData"].is_undefined_length = True
    loop.file_meta = FileMetaDataset()
    loop.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return loop


def seconds_of_the_pipeline(archive: Path, keys: Sequence[str]) -> float:
    """Return how long it takes to decode loops, to resize them and to write rows of a model that costs nothing.

    Args:
        archive: Where the loops are.
        keys: Names of the loops.
    """
    spec = resolve_model(MODEL, "bundled", "float32")
    settings = DecodeSettings(DecodeLimits(), spec.height, spec.width, None)
    budget = ByteBudget(PIXEL_BYTES_IN_FLIGHT)
    own = threading.local()
    images = [_planned(archive, key) for key in keys]
    began_s = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as frame_threads, ModelLease(threading.Lock()) as lease:
        reader = FileReader(open_source(str(archive)), "all", 1 << 30, frame_threads, FRAMES_AHEAD_PER_THREAD * THREADS)

        def read(image: PlannedImage) -> Iterator[FrameInput | SourceRecord]:
            if not hasattr(own, "decoder"):
                own.decoder = InProcessDecoder(settings, budget)
            return reader.read(image, own.decoder)

        pipeline = ShardPipeline(
            _NoModel(spec),
            lease,
            read,
            decoder_threads=THREADS,
            with_references=False,
            on_progress=lambda: None,
            before_batch=lambda batch: None,
        )
        for row in pipeline.run(images, lambda source: None):
            assert row["status"] == "ok", row
    return time.perf_counter() - began_s


def seconds_of_pydicom(archive: Path, keys: Sequence[str]) -> float:
    """Return how long pydicom takes to decode loops.

    Args:
        archive: Where the loops are.
        keys: Names of the loops.
    """
    began_s = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key in keys:
            for frame in iter_pixels(archive / key):
                assert frame.shape == (HEIGHT, WIDTH, 3)
    return time.perf_counter() - began_s


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _NoModel:
    """A model whose prediction is ready."""

    batch_size = 16

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        label_maps = np.zeros((self.batch_size, spec.height, spec.width), np.uint8)
        self._prediction = Prediction(label_maps, np.full(self.batch_size, 0.5, np.float32), None, None)

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        return self._prediction


def _planned(archive: Path, key: str) -> PlannedImage:
    status = (archive / key).stat()
    return PlannedImage(
        shard=0,
        position=0,
        subject_id="p",
        study_id="s",
        image_id=key,
        uri=key,
        frames=None,
        size_bytes=status.st_size,
        etag=None,
        modified_ns=status.st_mtime_ns,
        mask_uri=None,
        mask_size_bytes=None,
        mask_etag=None,
        mask_modified_ns=None,
    )


if __name__ == "__main__":
    main()
