"""`bench`: how fast this machine decodes, scores and writes, and the settings that follow from it.

All figures come from one process on one machine, so their ratios mean something.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec, resolve_model
from diagchd_batch.process.cores import available_cores
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.process.scratch_files import scratch_directory, scratch_file
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.output import open_output
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.worker.pipeline import Model
from diagchd_batch.scoring.worker.score_rows import scored_row
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import PIXEL_BYTES_IN_FLIGHT, ShardScorer
from diagchd_batch.sources import open_source
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.model.benchmark_against_keras import PredictorBenchmark
    from diagchd_batch.model.predictor import Predictor

BENCH_RUN_ID = "bench"
"""The id of a run that is only measured."""
_KEY = b"bench: tokens of the bundled sample, seen by nobody"
_MIN_SPEED_GAIN = 1.2
"""A change of precision needs a new validation, which a smaller gain is not worth."""
_MIN_SAME_PIXELS = 0.995


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast each step is alone, and all steps together.

    Attributes:
        batch_size: Images per batch of the model.
        n_images: Image files that were scored.
        decode_per_core: Images per second that one core reads and decodes.
        model: Images per second of the model alone.
        write_per_core: Images per second that one core encodes and writes.
        end_to_end: Images per second of all steps together.
    """

    batch_size: int
    n_images: int
    decode_per_core: float
    model: float
    write_per_core: float
    end_to_end: float

    @property
    def end_to_end_of_model(self) -> float:
        """The speed of all steps as a fraction of the model's: 1 if the pipeline costs nothing."""
        return self.end_to_end / self.model


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `bench` measures, in one run on this machine.

    Attributes:
        predictor: The model alone, in each precision, against Keras's own predict.
        throughput: Each step alone, and all steps together.
        suggestions: Settings that follow: ``key=value`` of the job file → the reason.
    """

    predictor: "PredictorBenchmark"
    throughput: Throughput
    suggestions: dict[str, str]


def run_benchmark(
    model: str, weights: str, precision: str, n_images: int, on_message: Callable[[str], object]
) -> Benchmark:
    """Measure the model and all steps of scoring on the bundled sample's images.

    Args:
        model: A model's name, as `model.name` in a job file.
        weights: The weights, as `model.weights` in a job file.
        precision: ``float32`` or ``bfloat16``, for the figures of all steps together.
        n_images: Image files that are scored end to end, 1 or more.
        on_message: Receives what is measured next, and a warning if `n_images` is too small.

    Returns:
        Both measurements, and the settings that they suggest.

    Raises:
        ConfigError: There is no such model or precision.
        WeightsError: The weights cannot be read or do not fit the network.
    """
    spec = resolve_model(model, weights, precision)
    cores = available_cores()
    on_message("comparing the predictor with Keras")
    predictor = measure_predictor(spec, n_images)
    on_message(f"scoring {counted(n_images, 'image')} end to end")
    throughput = measure_throughput(spec, n_images, decoder_threads=cores)
    if n_images < throughput.batch_size:
        on_message(
            f"{counted(n_images, 'image')} cannot fill one batch of {throughput.batch_size}, so the end-to-end figure "
            f"is too low; give --images {4 * throughput.batch_size} or more"
        )
    return Benchmark(predictor, throughput, suggest_settings(predictor, throughput, cores))


def measure_model(spec: ModelSpec, min_seconds: float = 3.0) -> tuple[float, str]:
    """Return the images per second of a model on this machine, and the device that it ran on.

    Args:
        spec: The model.
        min_seconds: Seconds that the measurement lasts at least.
    """
    predictor = _predictor(spec)
    return _model_images_per_s(predictor, min_seconds), predictor.devices[0]


def measure_predictor(spec: ModelSpec, n_images: int | None = None) -> "PredictorBenchmark":
    """Compare each precision of a model with Keras's own predict, on the bundled sample's images.

    Args:
        spec: The model.
        n_images: How many of the sample's images are used; all by default.

    Returns:
        The speed and the agreement with Keras of each precision.
    """
    grid = DecodeSettings(_decode_limits(), spec.height, spec.width, None)
    decoder = InProcessDecoder(grid, ByteBudget(PIXEL_BYTES_IN_FLIGHT))
    frames = []
    for path in sample_images()[:n_images]:
        decoder.open(path.read_bytes())
        frames.append(decoder.frame(0).image_hwc_u8)
    with native_stderr_silenced():
        from diagchd_batch.model.benchmark_against_keras import compare_with_keras

        return compare_with_keras(spec, np.stack(frames))


def measure_throughput(spec: ModelSpec, n_images: int, decoder_threads: int, min_seconds: float = 5.0) -> Throughput:
    """Time each step alone and all steps together.

    The model alone is timed before and after the other steps, so that a drift of the machine's speed favours neither.

    Args:
        spec: The model.
        n_images: Image files to score. The bundled sample's images are repeated up to this number.
        decoder_threads: Threads that read and decode.
        min_seconds: Seconds that each measurement of the model alone lasts at least.

    Returns:
        The images per second of each step and of all steps together.
    """
    model = _predictor(spec)
    with scratch_run(model, n_images, decoder_threads, sample_images()) as (settings, plan):
        reference = next(plan.shards())
        images = plan.read_shard(reference)
        decode, frames = _decode_images_per_s(settings, images)
        write = _write_images_per_s(settings, frames)
        scorer = ShardScorer(settings, model, Worker.this_process())
        before = _model_images_per_s(model, min_seconds)
        began_s = time.perf_counter()
        scorer.score(reference)
        seconds = time.perf_counter() - began_s
        after = _model_images_per_s(model, min_seconds)
    return Throughput(
        batch_size=model.batch_size,
        n_images=len(images),
        decode_per_core=decode,
        model=2 / (1 / before + 1 / after),
        write_per_core=write,
        end_to_end=len(images) / seconds,
    )


def suggest_settings(predictor: "PredictorBenchmark", throughput: Throughput, cores: int) -> dict[str, str]:
    """Return the settings that follow from measurements: ``key=value`` of the job file → the reason.

    Args:
        predictor: What `measure_predictor` returned.
        throughput: What `measure_throughput` returned.
        cores: Processor cores of this machine.
    """
    bfloat16, float32 = predictor.precisions["bfloat16"], predictor.precisions["float32"]
    gain = bfloat16.images_per_s / float32.images_per_s
    suggestions = {f"model.batch_size={throughput.batch_size}": "what `auto` resolves to here"}
    if gain >= _MIN_SPEED_GAIN and bfloat16.same_pixels >= _MIN_SAME_PIXELS and bfloat16.same_calls == 1:
        reason = f"{gain:.1f} times as fast as float32, with the same calls; check your own images with `compare`"
        suggestions["model.precision=bfloat16"] = reason
    else:
        suggestions["model.precision=float32"] = f"bfloat16 is {gain:.1f} times as fast, with the results shown above"
    cores_needed = math.ceil(throughput.model / throughput.decode_per_core)
    if cores_needed > cores:
        reason = f"decoding needs {cores_needed} cores to keep up with the model"
        suggestions[f"cluster.cpus_per_actor={cores_needed}"] = reason
    return suggestions


def _predictor(spec: ModelSpec) -> "Predictor":
    from diagchd_batch.model.batch_size import choose_batch_size

    with native_stderr_silenced():
        from diagchd_batch.model.predictor import Predictor

        return Predictor(spec, choose_batch_size(spec))


def sample_images() -> list[Path]:
    """Return the paths of the bundled sample's images, in order."""
    return sorted(path for path in bundled_path("dataset/sample/images").iterdir() if path.is_file())


def _decode_limits() -> DecodeLimits:
    limits = LimitsConfig()
    return DecodeLimits(max_pixels=limits.max_pixels, max_file_bytes=limits.max_file_bytes)


def _model_images_per_s(model: Model, min_seconds: float) -> float:
    spec = model.spec
    shape = (model.batch_size, spec.height, spec.width, 3)
    images_bhwc_u8 = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    model.predict(images_bhwc_u8)  # The first call may still allocate memory.
    return model.batch_size * _calls_per_s(lambda: model.predict(images_bhwc_u8), min_seconds)


def _calls_per_s(call: Callable[[], Any], min_seconds: float) -> float:
    """Return the rate over at least two calls and `min_seconds` seconds."""
    began_s, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - began_s < min_seconds:
        call()
        calls += 1
    return calls / (time.perf_counter() - began_s)


def _decode_images_per_s(settings: RunSettings, images: list[PlannedImage]) -> tuple[float, list[FrameInput]]:
    reader = FileReader(
        open_source(settings.input_uri, dicomweb=settings.dicomweb), settings.frame_rule, settings.limits.max_file_bytes
    )
    decode_settings = DecodeSettings(settings.decode_limits, settings.model.height, settings.model.width, None)
    decoder = InProcessDecoder(decode_settings, ByteBudget(PIXEL_BYTES_IN_FLIGHT))
    began_s = time.perf_counter()
    frames = [item for image in images for item in reader.read(image, decoder) if isinstance(item, FrameInput)]
    return len(images) / (time.perf_counter() - began_s), frames


def _write_images_per_s(settings: RunSettings, frames: list[FrameInput]) -> float:
    """Time masks, quality flags and Parquet, with label maps like a heart's, so that files have their usual size."""
    spec = settings.model
    rows_hw, columns_hw = np.mgrid[-1 : 1 : spec.height * 1j, -1 : 1 : spec.width * 1j]
    label_map_hw_u8 = np.where(np.hypot(rows_hw, columns_hw) < 0.5, 2, 0).astype(np.uint8)
    label_map_hw_u8[(np.abs(columns_hw) < 0.05) & (np.abs(rows_hw) < 0.3)] = 1
    prediction = Prediction(label_map_hw_u8[None], np.array([0.5], np.float32))
    metadata = table_metadata(run_id=BENCH_RUN_ID, fingerprint="", simulated=True)
    began_s = time.perf_counter()
    with (
        scratch_file() as file,
        ShardWriter(file, metadata) as writer,
    ):
        for frame in frames:
            writer.write([scored_row(replace(frame, reference=None), prediction, 0, spec.chd_threshold)])
    return len(frames) / (time.perf_counter() - began_s)


@contextmanager
def scratch_run(
    model: Model, n_images: int, decoder_threads: int, sample: Sequence[Path]
) -> Iterator[tuple[RunSettings, Plan]]:
    """Plan a run of one shard over copies of images, in a directory that is removed afterwards.

    Args:
        model: The model that will score the run.
        n_images: Images of the shard.
        decoder_threads: Threads that read and decode.
        sample: The images. They are repeated up to `n_images`.

    Yields:
        The settings of the run and its plan.
    """
    with scratch_directory() as directory:
        study = directory / "input" / "study"
        study.mkdir(parents=True)
        for number in range(n_images):
            source = sample[number % len(sample)]
            (study / f"{number:06d}{source.suffix}").write_bytes(source.read_bytes())
        input_config = InputConfig(uri=str(directory / "input"), layout="tree", simulated=True)
        output = open_output(str(directory / "output"))
        plan = freeze_plan(
            input_config,
            ShardsConfig(images_per_shard=n_images),
            open_source(input_config.uri),
            output.private,
            BENCH_RUN_ID,
            Pseudonymizer(_KEY),
        )
        settings = RunSettings(
            run_id=BENCH_RUN_ID,
            submission=BENCH_RUN_ID,
            fingerprint="",
            input_uri=input_config.uri,
            output_uri=output.storage.uri,
            private_uri=output.private.uri,
            model=model.spec,
            batch_size=model.batch_size,
            intra_op_threads=0,
            decoder_threads=decoder_threads,
            frame_rule="all",
            region="whole",
            label_map=None,
            limits=LimitsConfig(),
            simulated=True,
            has_masks=False,
        )
        yield settings, plan
