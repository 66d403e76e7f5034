"""`bench --feed`: what everything around the model costs, with a model that costs nothing.

The images are the bundled sample's PNG files, on the grid of a model. Milliseconds are of processor time, because wall
time on a busy machine says little. Rates are of wall time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagchd_batch.images.quality import quality_flags
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec, resolve_model
from diagchd_batch.process.cores import available_cores
from diagchd_batch.process.scratch_files import scratch_file
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.runs.bench import BENCH_RUN_ID, sample_images, scratch_run
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.worker.score_rows import scored_row
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import PIXEL_BYTES_IN_FLIGHT, ShardScorer
from diagchd_batch.sources import open_source
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.wording import counted

BATCH_SIZES = (8, 64)
"""The batch sizes that are measured. A GPU wants large batches, so the second must cost no more than the first."""

_STEP_IMAGES = 128
"""The largest number of images whose steps are timed one by one."""


class FreeModel:
    """A model whose prediction is ready. Every second predicted heart is in two pieces.

    Args:
        spec: The model whose grid is used.
        batch_size: Images of a batch.
    """

    def __init__(self, spec: ModelSpec, batch_size: int) -> None:
        self.spec = spec
        self.batch_size = batch_size
        label_maps = np.stack([made_label_map(spec.height, spec.width, slot % 2 + 1) for slot in range(batch_size)])
        self._prediction = Prediction(label_maps, np.full(batch_size, 0.5, np.float32))

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """Return the same prediction for every batch.

        Args:
            images_bhwc_u8: Not looked at.
            reference_bhw_u8: Not looked at.

        Returns:
            Label maps of made hearts, and the probability 0.5 for each image.
        """
        return self._prediction


@dataclass(frozen=True, slots=True)
class FeedRate:
    """How fast a worker is with a model that costs nothing.

    Attributes:
        decoder_threads: Threads that read and decode. Up to four further threads encode rows.
        batch_size: Images of a batch.
        images_per_s: Images per second of wall time.
        processor_ms: Milliseconds of processor time an image, over all threads.
    """

    decoder_threads: int
    batch_size: int
    images_per_s: float
    processor_ms: float


@dataclass(frozen=True, slots=True)
class FeedBenchmark:
    """What `bench --feed` measures.

    Attributes:
        height: Rows of the grid.
        width: Columns of the grid.
        n_images: Images of each measurement of a rate.
        step_ms: Milliseconds of processor time an image, by step, in one thread.
        rates: One entry for each number of decoder threads and each batch size.
    """

    height: int
    width: int
    n_images: int
    step_ms: dict[str, float]
    rates: list[FeedRate]


def run_feed_benchmark(model: str, n_images: int, on_message: Callable[[str], object]) -> FeedBenchmark:
    """Measure reading, decoding, resizing, encoding and writing on the bundled sample's PNG files.

    Args:
        model: A model's name, as `model.name` in a job file. Only its grid matters.
        n_images: Images of each measurement, 1 or more.
        on_message: Receives what is measured next.

    Returns:
        Processor time by step, and rates with 1 … cores decoder threads.

    Raises:
        ConfigError: There is no such model.
    """
    spec = resolve_model(model, "seed:0", "float32")
    on_message("timing the steps in one thread")
    step_ms = measure_steps(spec, min(n_images, _STEP_IMAGES))
    rates = []
    for threads in range(1, available_cores() + 1):
        for batch_size in BATCH_SIZES:
            on_message(f"{counted(threads, 'decoder thread')}, batch size {batch_size}")
            rates.append(measure_rate(spec, n_images, threads, batch_size))
    return FeedBenchmark(spec.height, spec.width, n_images, step_ms, rates)


def measure_rate(spec: ModelSpec, n_images: int, decoder_threads: int, batch_size: int) -> FeedRate:
    """Score one shard of the sample's PNG files as a worker does, with a model that costs nothing.

    Args:
        spec: The model whose grid is used.
        n_images: Images of the shard.
        decoder_threads: Threads that read and decode.
        batch_size: Images of a batch.

    Returns:
        The rate and the processor time of an image.
    """
    model = FreeModel(spec, batch_size)
    with scratch_run(model, n_images, decoder_threads, _png_files()) as (settings, plan):
        scorer = ShardScorer(settings, model, Worker.this_process())
        reference = next(plan.shards())
        began_s, used_s = time.perf_counter(), time.process_time()
        scorer.score(reference)
        used_s, seconds = time.process_time() - used_s, time.perf_counter() - began_s
    return FeedRate(decoder_threads, batch_size, n_images / seconds, 1000 * used_s / n_images)


def measure_steps(spec: ModelSpec, n_images: int) -> dict[str, float]:
    """Return the processor time of each step of one image in milliseconds, measured in one thread.

    Args:
        spec: The model whose grid is used.
        n_images: Images over which the mean is taken.
    """
    model = FreeModel(spec, BATCH_SIZES[0])
    with scratch_run(model, n_images, 1, _png_files()) as (settings, plan):
        images = plan.read_shard(next(plan.shards()))
        read_s, frames = _read(settings, images)
        steps = {"read and decode": read_s, "batch": _batch(model, frames)}
        steps |= _encode(model, frames)
    return {name: 1000 * seconds / n_images for name, seconds in steps.items()}


def made_label_map(height: int, width: int, n_pieces: int) -> np.ndarray:
    """Return a label map with a heart and its septum: uint8 [height, width].

    Args:
        height: Rows.
        width: Columns.
        n_pieces: 1, or 2 for a heart with a small piece apart from it.
    """
    rows_hw, columns_hw = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    label_map_hw_u8 = np.where(np.hypot(rows_hw, columns_hw) < 0.5, 2, 0).astype(np.uint8)
    label_map_hw_u8[(np.abs(columns_hw) < 0.05) & (np.abs(rows_hw) < 0.3)] = 1
    if n_pieces == 2:
        label_map_hw_u8[np.hypot(rows_hw - 0.6, columns_hw - 0.6) < 0.1] = 2
    return label_map_hw_u8


def _png_files() -> list[Path]:
    return [path for path in sample_images() if path.suffix == ".png"]


def _read(settings: RunSettings, images: Sequence[PlannedImage]) -> tuple[float, list[FrameInput]]:
    reader = FileReader(open_source(settings.input_uri), settings.frame_rule, settings.limits.max_file_bytes)
    decode_settings = DecodeSettings(settings.decode_limits, settings.model.height, settings.model.width, None)
    decoder = InProcessDecoder(decode_settings, ByteBudget(PIXEL_BYTES_IN_FLIGHT))
    began_s = time.thread_time()
    frames = [item for image in images for item in reader.read(image, decoder) if isinstance(item, FrameInput)]
    return time.thread_time() - began_s, frames


def _batch(model: FreeModel, frames: Sequence[FrameInput]) -> float:
    spec = model.spec
    began_s = time.thread_time()
    for start in range(0, len(frames), model.batch_size):
        images_bhwc_u8 = np.zeros((model.batch_size, spec.height, spec.width, 3), np.uint8)
        for slot, frame in enumerate(frames[start : start + model.batch_size]):
            assert frame.decoded is not None
            images_bhwc_u8[slot] = frame.decoded.image_hwc_u8
        model.predict(images_bhwc_u8)
    return time.thread_time() - began_s


def _encode(model: FreeModel, frames: Sequence[FrameInput]) -> dict[str, float]:
    spec, size = model.spec, model.batch_size
    prediction = model.predict(np.empty(0))
    label_maps = prediction.label_maps_bhw_u8
    began_s = time.thread_time()
    for place in range(len(frames)):
        quality_flags(label_maps[place % size], 0.5)
    flags_s, began_s = time.thread_time() - began_s, time.thread_time()
    for place in range(len(frames)):
        encode_mask(label_maps[place % size])
    mask_s, began_s = time.thread_time() - began_s, time.thread_time()
    rows = [scored_row(frame, prediction, place % size, spec.chd_threshold) for place, frame in enumerate(frames)]
    row_s, began_s = time.thread_time() - began_s, time.thread_time()
    metadata = table_metadata(run_id=BENCH_RUN_ID, fingerprint="", simulated=True)
    with scratch_file() as file, ShardWriter(file, metadata) as writer:
        for row in rows:
            writer.write([row])
    parquet_s = time.thread_time() - began_s
    return {
        "quality flags": flags_s,
        "mask to PNG": mask_s,
        "rest of the row": max(0.0, row_s - flags_s - mask_s),
        "Parquet": parquet_s,
    }
