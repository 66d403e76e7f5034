"""The models of a training's folds, each of which scores the studies that its fold held out."""

import threading
from collections.abc import Callable
from dataclasses import replace

from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.scoring.worker.pipeline import Model


class FoldModels:
    """Gives the model of each fold. A model is loaded when it is first asked for, and kept.

    Args:
        spec: The package of the training, with the members of all folds.
        load: Loads a model with one member.
    """

    def __init__(self, spec: ModelSpec, load: Callable[[ModelSpec], Model]) -> None:
        self._spec = spec
        self._load = load
        self._loaded: dict[int, Model] = {}
        self._lock = threading.Lock()

    def of(self, fold: int) -> Model:
        """Return the model of a fold.

        Args:
            fold: The fold's number, from 0, which is also the place of its weights in the package's card.
        """
        with self._lock:
            if fold not in self._loaded:
                self._loaded[fold] = self._load(member_of_fold(self._spec, fold))
            return self._loaded[fold]


def member_of_fold(spec: ModelSpec, fold: int) -> ModelSpec:
    """Return the model of one fold of a package.

    Args:
        spec: The package, with the members of all folds.
        fold: The fold's number, from 0.
    """
    return replace(spec, members=(fold,), weights_digest=spec.card.weights_files[fold].sha256)
