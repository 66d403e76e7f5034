"""The out-of-fold run of a training of two folds, with a grey model in place of the network and no Ray.

As a program it makes or resumes the run: `python -m tests.support.trainings.held_out_run DIRECTORY OUTPUT SECONDS`.
With `--repair` it gives the command of a finished training again. Tests kill it.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch import output_layout
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.model import load_card
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.runs import train
from diagchd_batch.runs.cross_validation import record_folds, score_held_out
from diagchd_batch.runs.train import TrainOptions, TrainOutcome, train_here, training_target
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.liveness.stop_conditions import RunEnding, StopConditions
from diagchd_batch.scoring.worker.fold_models import FoldModels
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifier_key import KEY_VARIABLE
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.training.training_record import TrainingRecord, training_tree, write_training_record
from diagchd_batch.workspace import Workspace
from tests.unit.model.packages.made_package import CHECKPOINT, make_package
from tests.unit.scoring.made_inputs import png

N_STUDIES = 12
KEY = "ab" * 32
ENVIRON = {KEY_VARIABLE: KEY}


def job_of(directory: Path, output: str = "out") -> JobConfig:
    """Return a training job whose archive, package and output lie in a directory. The first two are made if needed."""
    archive, package = directory / "archive", directory / "package"
    if not archive.exists():
        for study in range(N_STUDIES):
            (archive / f"study-{study:02d}").mkdir(parents=True)
            (archive / f"study-{study:02d}" / "1.png").write_bytes(png(20 * study))
        _make_package_of_two_folds(package)
    return JobConfig.model_validate(
        {
            "input": {"uri": str(archive), "layout": "tree"},
            "model": {"name": "diagchd-compact", "batch_size": 2},
            "output": {"uri": str(directory / output)},
            "shards": {"images_per_shard": 2},
            "evaluation": {"resamples": 100},
            "training": {"package_uri": str(package), "folds": {"number": 2}},
        }
    )


def _make_package_of_two_folds(package: Path) -> None:
    make_package(package)
    shutil.copyfile(package / CHECKPOINT, package / "weights" / "fold-1.h5")
    card = json.loads((package / "card.json").read_text())
    card["weights"].append(card["weights"][0] | {"file": "weights/fold-1.h5"})
    (package / "card.json").write_text(json.dumps(card))


def folds_of(stop_request: str | None = None) -> HeldOutFolds:
    """Return two folds, each of which holds out every second study."""
    tokens = Pseudonymizer(bytes.fromhex(KEY))
    held_out = {tokens.study(f"study-{study:02d}"): study % 2 for study in range(N_STUDIES)}
    return HeldOutFolds("subject", ("0", "1"), None, held_out, stop_request)


class OneMachine:
    """A cluster without Ray."""

    elastic = False

    def nodes(self) -> list[NodeResources]:
        return [NodeResources(cpus=2, gpus=0, memory_bytes=8 << 30)]

    @contextmanager
    def connected(self) -> Iterator[None]:
        yield

    def check(self) -> None:
        pass


class GreyModel:
    """A model whose probability is the mean brightness. Each batch takes a while."""

    def __init__(self, spec: ModelSpec, batch_size: int, seconds: float) -> None:
        self.spec = spec
        self.batch_size = batch_size
        self._seconds = seconds

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        time.sleep(self._seconds)
        probability = images_bhwc_u8.mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
        return Prediction(images_bhwc_u8[..., 0] // 86, probability, None, None)


def score_in_this_process(
    seconds: float = 0.0, after_shard: Callable[[int], None] = lambda shard: None
) -> Callable[..., None]:
    """Return what stands in for `run_shards`: it asks before each shard whether the run is to stop, as workers do.

    Args:
        seconds: Seconds of each batch.
        after_shard: Called with the number of each shard that is scored.
    """

    def run_shards(
        settings: RunSettings,
        shards: Sequence[ShardReference],
        actors: ActorPlan,
        *,
        on_summary: Callable[[ShardSummary], None],
        **callbacks: Any,
    ) -> None:
        models = FoldModels(settings.model, lambda spec: GreyModel(spec, settings.batch_size, seconds))
        scorer = ShardScorer(settings, models, Worker.this_process())
        private = open_store(settings.private_uri, owner_only=True)
        also = settings.also_stopped_by
        gate = StopConditions(private, settings.run_id, settings.submission, None, also_stopped_by=also)
        for shard in shards:
            if ending := gate.closed():
                raise RunEnding(ending)
            on_summary(scorer.score(shard))
            after_shard(shard.shard)

    return run_shards


def score(
    job: JobConfig, folds: HeldOutFolds, say: Callable[[str], None], environ: Mapping[str, str] = ENVIRON
) -> RunOutcome:
    """Make or resume the run."""
    return score_held_out(job, folds, OneMachine(), environ=environ, command=["train"], until=None, on_message=say)


class Messages:
    """Keeps the messages of a training."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def listed(self, n_objects: int) -> None:
        pass

    def cached(self, n_done: int, n_parts: int) -> None:
        pass

    def folds(self, notes: object) -> None:
        pass


def record_of(run_id: str, status: str, out_of_fold_run_id: str | None) -> TrainingRecord:
    """Return the record of a training."""
    return TrainingRecord.model_validate(
        {
            "run_id": run_id,
            "status": status,
            "model": "trained",
            "architecture": "diagchd-compact",
            "package_uri": "package",
            "n_studies": N_STUDIES,
            "n_subjects": N_STUDIES,
            "n_images": N_STUDIES,
            "started_at": datetime.now(UTC),
            "out_of_fold_run_id": out_of_fold_run_id,
            "full_config": {},
            "command": ["train"],
        }
    )


def finish_training(job: JobConfig, out_of_fold_run_id: str) -> str:
    """Write what a finished training with an out-of-fold run leaves, and return the training's run id."""
    workspace = Workspace.of_job(job, ENVIRON)
    assert job.training is not None
    tree, key = training_tree(workspace), workspace.create_key()
    registry = RunRegistry(tree.storage, tree.private, key)
    target = training_target(job, load_card("diagchd-compact"), registry, key, RunRequest())
    run_id = registry.claim(target, batch_size=1, intra_op_threads=1, chd_threshold=0.5).identity.run_id
    write_training_record(tree, record_of(run_id, "finished", out_of_fold_run_id))
    tree.storage.create(output_layout.success_marker(run_id), b"")
    record_folds(tree.private, run_id, folds_of(), load_card(job.training.package_uri))
    return run_id


def train_again(job: JobConfig) -> tuple[TrainOutcome, str]:
    """Give the command of a training, on `OneMachine`. Return the outcome and the messages as one text."""
    progress = Messages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "LocalCluster", lambda node: OneMachine())
        outcome = train_here(TrainOptions(job, ENVIRON, ["train"], RunRequest()), progress)
    return outcome, " ".join(progress.texts)


def main(directory: Path, output: str, seconds: float, *, repair: bool) -> None:
    """Make or resume the run of an output, or repair it. Each batch takes some seconds."""
    ray_data.run_shards = score_in_this_process(seconds)
    job = job_of(directory, output)
    if repair:
        print(train_again(job)[0].out_of_fold_run_id, flush=True)
    else:
        print(score(job, folds_of(), lambda text: None).run_id, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), repair="--repair" in sys.argv)
