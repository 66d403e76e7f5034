"""Models: the network, its weights, model packages, runtimes and the predictor.

Keras and TensorFlow are imported when a name that needs them is first used, so that resolving a model stays fast.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from diagchd_batch.model.pinned_settings import pin_settings

if TYPE_CHECKING:
    from diagchd_batch.model.batch_size import choose_batch_size
    from diagchd_batch.model.network import build_network
    from diagchd_batch.model.packages.bundled import bundled_models
    from diagchd_batch.model.packages.registry import load_card
    from diagchd_batch.model.predictor import Predictor
    from diagchd_batch.model.runtimes.interface import Prediction
    from diagchd_batch.model.spec import ModelSpec, resolve_model
    from diagchd_batch.model.weights.checkpoints import load_checkpoint, save_checkpoint

pin_settings(os.environ)  # every module that computes lies below this package, so Keras is not imported before

__all__ = [
    "ModelSpec",
    "Prediction",
    "Predictor",
    "build_network",
    "bundled_models",
    "choose_batch_size",
    "load_card",
    "load_checkpoint",
    "resolve_model",
    "save_checkpoint",
]
_MODULES = {
    "ModelSpec": "spec",
    "Prediction": "runtimes.interface",
    "Predictor": "predictor",
    "build_network": "network",
    "bundled_models": "packages.bundled",
    "choose_batch_size": "batch_size",
    "load_card": "packages.registry",
    "load_checkpoint": "weights.checkpoints",
    "resolve_model": "spec",
    "save_checkpoint": "weights.checkpoints",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
