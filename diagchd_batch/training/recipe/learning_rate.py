"""The learning rate of each step."""

import math

from diagchd_batch.config.training_block import StageConfig


def learning_rate(stage: StageConfig, step: int, n_steps: int, plateau_scale: float) -> float:
    """Return the learning rate of one step of a stage.

    It rises from 0 over the first `warmup_fraction` of the steps. Then it is constant, falls to 0 along a cosine, or is
    multiplied by `plateau_scale`.

    Args:
        stage: The settings of the stage.
        step: Number of the step in the stage, from 0.
        n_steps: Steps of the stage if no epoch is saved by early stopping.
        plateau_scale: What the plateaus so far have multiplied the rate by.
    """
    warmup = int(stage.warmup_fraction * n_steps)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    if stage.schedule == "cosine":
        done = (step - warmup) / max(1, n_steps - warmup)
        return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return stage.learning_rate * (plateau_scale if stage.schedule == "plateau" else 1.0)
