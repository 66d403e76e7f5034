"""The network, its weights and the predictor.

Keras and TensorFlow load when a name that needs them is first used, so that `model.spec` and `model.card` stay light.
"""

import os
from importlib import import_module

# TensorFlow greets and warns at length on stderr while it loads; what goes wrong it raises. To be set before it loads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_HOMES = {
    "ModelSpec": "spec",
    "resolve_model": "spec",
    "list_models": "card",
    "load_card": "card",
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
