"""The files that a fold's training goes on from."""

from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.errors import RunFault
from diagchd_batch.storage import open_store
from diagchd_batch.training.recipe.early_stopping import BestEpoch
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress, FoldState

ARRAYS = [np.full((2, 3), number, np.float32) for number in range(12)]


@pytest.fixture
def checkpoints(tmp_path: Path) -> FoldCheckpoints:
    return FoldCheckpoints(open_store(str(tmp_path)), "fold-0/")


def test_a_state_comes_back_to_the_bit(checkpoints: FoldCheckpoints) -> None:
    assert checkpoints.load("a") is None
    best = BestEpoch(value=0.1 + 0.2, epoch=3)
    progress = FoldProgress(settings_digest="a", stage=1, step=7, best=best, sums={"loss": 1 / 3}, history=[{"x": 0.7}])
    checkpoints.save(FoldState(progress, ARRAYS, ARRAYS[:2]))
    again = checkpoints.load("a")
    assert again.progress == progress
    assert [array.tobytes() for array in again.variables] == [array.tobytes() for array in ARRAYS]
    assert len(again.optimizer) == 2


def test_a_state_of_other_settings_is_refused(checkpoints: FoldCheckpoints) -> None:
    checkpoints.save(FoldState(FoldProgress(settings_digest="a"), ARRAYS))
    with pytest.raises(RunFault, match="other settings"):
        checkpoints.load("b")


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_state_is_named(checkpoints: FoldCheckpoints, tmp_path: Path, damage: bytes | None) -> None:
    checkpoints.save(FoldState(FoldProgress(settings_digest="a"), ARRAYS))
    path = tmp_path / "fold-0/state.npz"
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(RunFault, match=r"fold-0/state\.npz .* cannot be used"):
        checkpoints.load("a")


def test_only_the_best_epoch_is_kept(checkpoints: FoldCheckpoints, tmp_path: Path) -> None:
    for epoch in (0, 2):
        checkpoints.save_best(1, epoch, ARRAYS[epoch:])
    checkpoints.keep_only_best(1, 2)
    assert [path.name for path in (tmp_path / "fold-0/best").iterdir()] == ["stage-1-epoch-00002.npz"]
    assert checkpoints.load_best(1, 2)[0].tobytes() == ARRAYS[2].tobytes()
    with pytest.raises(RunFault, match="it is gone"):
        checkpoints.load_best(1, 0)
