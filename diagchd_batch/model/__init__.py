"""Models: the network, its weights, model packages, runtimes and the predictor.

Keras and TensorFlow are imported when a name that needs them is first used, so that resolving a model stays fast.
"""

import os
from importlib import import_module

# TensorFlow writes many messages to stderr while it loads. Errors are raised as exceptions anyway. This must be set
# before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_HOMES = {
    "ModelSpec": "spec",
    "resolve_model": "spec",
    "bundled_models": "packages.bundled",
    "load_card": "packages.registry",
    "build_network": "network",
    "load_checkpoint": "weights.checkpoints",
    "save_checkpoint": "weights.checkpoints",
    "Prediction": "runtimes.interface",
    "Predictor": "predictor",
    "choose_batch_size": "batch_size",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
