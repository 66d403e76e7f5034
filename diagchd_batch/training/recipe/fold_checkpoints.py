"""Where a fold's training stands, kept in the private tree so that any node can go on with it.

There are two kinds of files, and both are replaced atomically. ``state.npz`` holds everything that the next step
depends on: weights, the state of the random generators, the optimiser and the place in the recipe. The weights of a
stage's best epoch have a file of their own, because they change less often. They are written before the state that
names them.
"""

import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.json_records import first_problem
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.storage import Store
from diagchd_batch.training.recipe.early_stopping import BestEpoch

Arrays = list[np.ndarray]

_PROGRESS = "progress"


class FoldProgress(BaseModel):
    """The place of a fold in its recipe.

    Attributes:
        settings_digest: Digest of all that the weights depend on. A checkpoint of other settings is refused.
        stage: Number of the stage, from 0. The number of stages means that all are done.
        epoch: Number of the epoch, from 0.
        step: Number of the next step in the epoch, from 0.
        best: The best epoch of the stage so far.
        sums: Name of a loss -> its sum over the steps of the epoch so far.
        history: One row for each epoch that is done: stage, epoch and figures.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    settings_digest: str
    stage: int = 0
    epoch: int = 0
    step: int = 0
    best: BestEpoch = BestEpoch()
    sums: dict[str, float] = {}
    history: list[dict[str, Any]] = []


@dataclass
class FoldState:
    """Everything that the next step depends on.

    Attributes:
        progress: The place in the recipe.
        variables: The values of all variables of the network, random state included, in the order of `variables`.
        optimizer: The values of the optimiser's variables; empty between two stages.
    """

    progress: FoldProgress
    variables: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)


class FoldCheckpoints:
    """The checkpoints of one fold."""

    def __init__(self, store: Store, prefix: str) -> None:
        """Name the place; nothing is read or written.

        Args:
            store: The private tree.
            prefix: What the keys of the fold's files begin with. It ends with a slash.
        """
        self._store = store
        self._prefix = prefix

    def load(self, settings_digest: str) -> FoldState | None:
        """Return the state that was saved last, or None if there is none.

        Args:
            settings_digest: Digest of all that the weights depend on.

        Raises:
            RunFault: The checkpoint is damaged, or of other settings.
        """
        key = self._prefix + "state.npz"
        arrays = self._read(key)
        if arrays is None:
            return None
        try:
            progress = FoldProgress.model_validate_json(bytes(arrays.pop(_PROGRESS)))
        except (KeyError, ValidationError) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else "it has no progress"
            raise _damaged(key, reason) from error
        if progress.settings_digest != settings_digest:
            raise RunFault(
                f"the checkpoint {key} was made with other settings, other data or another version of the program; "
                "restore them, or begin another run with --new-run"
            )
        return FoldState(progress, _numbered(arrays, "variable"), _numbered(arrays, "optimizer"))

    def save(self, state: FoldState) -> None:
        """Replace the saved state. It is durable when this returns.

        Args:
            state: The state.

        Raises:
            StorageFault: It cannot be written.
        """
        progress = np.frombuffer(state.progress.model_dump_json().encode(), np.uint8)
        named = {f"variable{number}": array for number, array in enumerate(state.variables)}
        named |= {f"optimizer{number}": array for number, array in enumerate(state.optimizer)}
        self._write(self._prefix + "state.npz", named | {_PROGRESS: progress})

    def save_best(self, stage: int, epoch: int, variables: Arrays) -> None:
        """Save the weights of a stage's best epoch so far, before the state that names that epoch.

        Args:
            stage: Number of the stage, from 0.
            epoch: Number of the epoch, from 0.
            variables: The values of the network's variables.
        """
        self._write(
            self._best_key(stage, epoch), {f"variable{number}": array for number, array in enumerate(variables)}
        )

    def load_best(self, stage: int, epoch: int) -> Arrays:
        """Return what `save_best` saved.

        Args:
            stage: Number of the stage, from 0.
            epoch: Number of the epoch, from 0.

        Raises:
            RunFault: It is gone or damaged.
        """
        key = self._best_key(stage, epoch)
        arrays = self._read(key)
        if arrays is None:
            raise _damaged(key, "it is gone")
        return _numbered(arrays, "variable")

    def keep_only_best(self, stage: int, epoch: int) -> None:
        """Delete the weights of epochs that were the best before. The state that names the best must be saved.

        Args:
            stage: Number of the stage, from 0.
            epoch: Number of the epoch, from 0.
        """
        kept = self._best_key(stage, epoch)
        for info in list(self._store.list(self._prefix + "best/")):
            if info.key != kept:
                self._store.delete(info.key)

    def _best_key(self, stage: int, epoch: int) -> str:
        return f"{self._prefix}best/stage-{stage}-epoch-{epoch:05d}.npz"

    def _write(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        with scratch_file() as file:
            with scratch_faults():
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
            self._store.replace(key, file)

    def _read(self, key: str) -> dict[str, np.ndarray] | None:
        if self._store.stat(key) is None:
            return None
        try:
            with np.load(io.BytesIO(self._store.read(key)), allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, json.JSONDecodeError, ItemError) as error:
            raise _damaged(key, str(error)) from error


def _numbered(arrays: dict[str, np.ndarray], kind: str) -> Arrays:
    """Return the arrays of one kind in the order of their numbers."""
    count = sum(name.startswith(kind) for name in arrays)
    return [arrays[f"{kind}{number}"] for number in range(count)]


def _damaged(key: str, reason: str) -> RunFault:
    return RunFault(
        f"the checkpoint {key} in the private tree cannot be used ({reason}); restore it from a backup, or delete the "
        "files of this fold there, then give the same command again: the fold begins anew"
    )
