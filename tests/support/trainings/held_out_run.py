"""The out-of-fold run of a training of two folds, with a grey model in place of the network and no Ray.

As a program it makes or resumes the run: `python -m tests.support.trainings.held_out_run DIRECTORY OUTPUT SECONDS`.
Tests kill it.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.runs.cross_validation import score_held_out
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
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


def main(directory: Path, output: str, seconds: float) -> None:
    """Make or resume the run of an output. Each batch takes some seconds."""
    ray_data.run_shards = score_in_this_process(seconds)
    outcome = score(job_of(directory, output), folds_of(), lambda text: None)
    print(outcome.run_id, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
