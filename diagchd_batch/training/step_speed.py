"""Times the steps of a training on this machine, in a process of its own, with images of noise."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagchd_batch.config.training_block import StageConfig, TrainingConfig
from diagchd_batch.model.card import ModelCard

MAX_MEASURED_BATCH = 4
"""Images of a measured batch at most, so that the measurement needs little memory."""

_STEPS = 3


@dataclass(frozen=True, slots=True)
class StepSpeed:
    """How long the parts of a stage take.

    Attributes:
        compile_s: Seconds that the first training step and the first validation step take, which compile the network.
        train_image_s: Seconds of a later training step for each image.
        validate_image_s: Seconds of a later validation step for each image.
    """

    compile_s: float
    train_image_s: float
    validate_image_s: float


def measured_speeds(config: TrainingConfig, card: ModelCard, threads: int) -> dict[str, StepSpeed] | None:
    """Time one stage that trains the classifier alone, and one of the other stages, if the recipe has them.

    Args:
        config: How to train.
        card: The card of the network.
        threads: Threads of one operation.

    Returns:
        What a stage trains (`StageConfig.trains`) -> its speed; None if the process died, such as of a lack of memory.
    """
    stages: dict[bool, StageConfig] = {}
    for stage in config.resolved_stages:
        stages.setdefault(stage.trains == "classifier", stage)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.submit(_measure, config, card, threads, list(stages.values())).result()
        except BrokenProcessPool:
            return None
    of_kind = dict(zip(stages, found, strict=True))
    return {stage.trains: of_kind[stage.trains == "classifier"] for stage in config.resolved_stages}


def _measure(config: TrainingConfig, card: ModelCard, threads: int, stages: list[StageConfig]) -> list[StepSpeed]:
    from diagchd_batch.process.native_stderr import native_stderr_silenced

    with native_stderr_silenced():  # TensorFlow greets on stderr when it is first imported
        from diagchd_batch.training.fold_task import fix_numerics, initial_network

        fix_numerics(threads)
        model = initial_network(config.model_copy(update={"initial_weights": "scratch"}), card, config.seed)
        return [_speed(model, card, stage) for stage in stages]


def _speed(model: Any, card: ModelCard, stage: StageConfig) -> StepSpeed:
    from diagchd_batch.training.recipe.compiled_steps import Batch, CompiledStage

    size, grid = min(stage.batch_size, MAX_MEASURED_BATCH), (card.architecture.height, card.architecture.width)
    generator = np.random.default_rng(0)
    batch = Batch(
        rows=np.arange(size),
        images=generator.integers(0, 256, (size, *grid, 3), np.uint8),
        masks=generator.integers(0, 3, (size, *grid), np.uint8),
        labels=(np.arange(size) % 2).astype(np.int8),
        has_mask=np.ones(size, bool),
    )
    begun_s = time.perf_counter()
    compiled = CompiledStage(model, stage, (1.0, 1.0))
    compiled.train(batch, stage.learning_rate)
    compiled.validate(batch)
    compiled_s = time.perf_counter()
    for _ in range(_STEPS):
        compiled.train(batch, stage.learning_rate)
    trained_s = time.perf_counter()
    for _ in range(_STEPS):
        compiled.validate(batch)
    ended_s = time.perf_counter()
    n_images = _STEPS * size
    return StepSpeed(compiled_s - begun_s, (trained_s - compiled_s) / n_images, (ended_s - trained_s) / n_images)
