"""Figures of one epoch on a fold's validation part. They choose the best epoch and are no estimate of performance."""

import numpy as np
from sklearn.metrics import roc_auc_score

from diagchd_batch.config.training_block import StageConfig

CALLED_FROM = 0.5


def validation_figures(
    stage: StageConfig, found: dict[str, np.ndarray], labels: np.ndarray, has_mask: np.ndarray
) -> dict[str, float]:
    """Return the losses, mean IoU, accuracy and AUC, per image. A figure that the images cannot give is left out.

    Args:
        stage: The settings of the stage, for the weights of the losses.
        found: ``segmentation_loss``, ``classification_loss`` and ``probability`` and ``iou``, float32 ``[n]`` each.
        labels: int8 ``[n]``: 0, 1, or -1 for none.
        has_mask: bool ``[n]``.
    """
    figures: dict[str, float] = {}
    labelled = labels >= 0
    takes_masks = stage.trains != "classifier"
    if takes_masks and has_mask.any():
        figures["segmentation_loss"] = float(found["segmentation_loss"][has_mask].mean(dtype=np.float64))
        figures["iou"] = float(found["iou"][has_mask].mean(dtype=np.float64))
    if labelled.any():
        truth, probability = labels[labelled], found["probability"][labelled]
        figures["classification_loss"] = float(found["classification_loss"][labelled].mean(dtype=np.float64))
        figures["accuracy"] = float(((probability >= CALLED_FROM) == truth).mean())
        if 0 < truth.sum() < len(truth):
            figures["auc"] = float(roc_auc_score(truth, probability))
    weights = {
        "segmentation_loss": stage.segmentation_weight if takes_masks else 0.0,
        "classification_loss": stage.classification_weight,
    }
    parts = [weight * figures[name] for name, weight in weights.items() if weight > 0 and name in figures]
    return figures | ({"loss": float(sum(parts))} if parts else {})
