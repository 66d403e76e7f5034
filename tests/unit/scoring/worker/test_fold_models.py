"""Out-of-fold predictions: each study is scored by the model of the fold that held it out, and by no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.errors import RunFault
from diagchd_batch.model.card import WeightsFile
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.scoring.worker.fold_models import FoldModels
from tests.unit.scoring.made_inputs import SPEC, PlainModel, png
from tests.unit.scoring.made_runs import MadeRun, make_run

FILES = {f"study-{n}/image.png": png(20 * n + 10) for n in range(10)}
FOLDS = {f"study-{n}": n % 3 for n in range(9)}  # no fold holds out study-9


class ModelsOfFolds:
    """Loads simple models and remembers for which members."""

    def __init__(self) -> None:
        self.loaded: dict[int, PlainModel] = {}
        self.digests: list[str] = []

    def load(self, spec: ModelSpec) -> PlainModel:
        (member,) = spec.members
        self.digests.append(spec.weights_digest)
        self.loaded[member] = PlainModel(4)
        return self.loaded[member]


@pytest.fixture
def scored(tmp_path: Path) -> tuple[MadeRun, ModelsOfFolds]:
    models, run = ModelsOfFolds(), make_run(tmp_path, FILES, folds=FOLDS, images_per_shard=2)
    run.score_all(FoldModels(_package(), models.load), scores_by_fold=True)
    return run, models


def _package() -> ModelSpec:
    files = [WeightsFile(file=f"weights/fold-{n}.h5", sha256=f"{n}" * 64, size_bytes=1) for n in range(3)]
    card = SPEC.card.model_copy(update={"weights": files})
    return replace(SPEC, card=card, members=(0, 1, 2))


def test_only_held_out_studies_are_planned_and_no_shard_holds_two_folds(scored: tuple[MadeRun, ModelsOfFolds]) -> None:
    run, _ = scored
    shards = [run.plan.read_shard(reference) for reference in run.plan.shards()]
    assert [{image.fold for image in shard} for shard in shards] == [{0}, {0}, {1}, {1}, {2}, {2}]
    assert [len(shard) for shard in shards] == [2, 1, 2, 1, 2, 1]
    planned = {image.uri.split("/")[0]: image.fold for shard in shards for image in shard}
    assert planned == FOLDS
    assert run.plan.is_intact()
    assert run.plan.studies().read_all().num_rows == 9


def test_each_study_is_scored_by_the_model_of_its_fold_alone(scored: tuple[MadeRun, ModelsOfFolds]) -> None:
    run, models = scored
    assert models.digests == ["0" * 64, "1" * 64, "2" * 64], "each model is loaded once"
    values = {fold: {20 * n + 10 for n in range(9) if n % 3 == fold} for fold in range(3)}
    seen = {
        fold: {int(image[0, 0, 0]) for batch in model.batches for image in batch if np.any(image)}
        for fold, model in models.loaded.items()
    }
    assert seen == values
    assert {round(row["chd_probability"] * 255): row["fold"] for row in run.rows()} == {
        value: fold for fold, held_out in values.items() for value in held_out
    }


def test_a_run_of_one_model_has_no_folds(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a/1.png": png(100), "b/1.png": b"broken"})
    run.score_all()
    assert [row["fold"] for row in run.rows()] == [None, None]
    with pytest.raises(RunFault, match="one fold for each shard"):
        other = make_run(tmp_path, {"a/1.png": png(100)}, name="other")
        other.score_all(FoldModels(_package(), ModelsOfFolds().load))
