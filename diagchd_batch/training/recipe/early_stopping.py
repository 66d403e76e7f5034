"""Which epoch of a stage is the best, when the stage ends early, and when the learning rate falls."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from diagchd_batch.config.training_block import StageConfig

LOWER_IS_BETTER = ("loss", "segmentation_loss", "classification_loss")
"""The monitored values of which the lowest is the best."""


class BestEpoch(BaseModel):
    """What the epochs of a stage so far say. It is part of a checkpoint.

    Attributes:
        value: The best monitored value; None before the first.
        epoch: The epoch of that value, from 0.
        epochs_since: Epochs without a better value since then.
        epochs_on_plateau: Epochs without a better value since the learning rate last fell.
        plateau_scale: What the learning rate is multiplied by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = None
    epoch: int = -1
    epochs_since: int = 0
    epochs_on_plateau: int = 0
    plateau_scale: float = 1.0

    def after(self, stage: StageConfig, epoch: int, value: float | None) -> "BestEpoch":
        """Return the state after one more epoch.

        Args:
            stage: The settings of the stage.
            epoch: The number of the epoch, from 0.
            value: The monitored value; None if the validation part cannot give it. Then the last epoch is the best.
        """
        if value is None or math.isnan(value):
            return (
                BestEpoch(epoch=epoch, plateau_scale=self.plateau_scale) if self.value is None else self._waited(stage)
            )
        if self.value is None or self._is_better(stage, value):
            return BestEpoch(value=value, epoch=epoch, plateau_scale=self.plateau_scale)
        return self._waited(stage)

    def ends_stage(self, stage: StageConfig) -> bool:
        """Return whether the stage has gone its patience without a better epoch."""
        return stage.patience is not None and self.epochs_since >= stage.patience

    def _is_better(self, stage: StageConfig, value: float) -> bool:
        assert self.value is not None
        return value < self.value if stage.monitor in LOWER_IS_BETTER else value > self.value

    def _waited(self, stage: StageConfig) -> "BestEpoch":
        on_plateau, scale = self.epochs_on_plateau + 1, self.plateau_scale
        if stage.schedule == "plateau" and on_plateau >= stage.plateau_patience:
            on_plateau, scale = 0, scale * stage.plateau_factor
        return self.model_copy(
            update={
                "epochs_since": self.epochs_since + 1,
                "epochs_on_plateau": on_plateau,
                "plateau_scale": scale,
            }
        )


def chosen_epochs(stages: Sequence[StageConfig], history: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return which row of a fold's history is the chosen epoch of each stage that has begun.

    Args:
        stages: The stages of the recipe.
        history: The rows of all epochs (`fold_task.FoldResult.history`).
    """
    chosen: list[int] = []
    best, number = BestEpoch(), -1
    for row, epoch in enumerate(history):
        if epoch["epoch"] == 0:
            best, number = BestEpoch(), number + 1
            chosen.append(row)
        stage = stages[number]
        best = best.after(stage, epoch["epoch"], epoch.get(f"validation_{stage.monitor}"))
        if best.epoch == epoch["epoch"]:
            chosen[number] = row
    return chosen
