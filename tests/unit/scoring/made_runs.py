"""A planned run over small files in a temporary directory, and a scorer for it with a simple model and without Ray."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diagchd_batch.config.job_file import InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.results.datasets import read_scores
from diagchd_batch.scoring.liveness.heartbeats import SubmissionState
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import AttemptLog, Worker
from diagchd_batch.scoring.worker.fold_models import FoldModels
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.selection import held_out_by
from diagchd_batch.studies.plan.stored_plan import Plan
from tests.unit.scoring.made_inputs import SPEC, PlainModel

RUN = "run"
SUBMISSION = "now"


@dataclass
class MadeRun:
    plan: Plan
    settings: RunSettings
    output: Store
    private: Store

    def scorer(self, model: PlainModel | FoldModels | None = None, **changes: Any) -> ShardScorer:
        settings = replace(self.settings, **changes)
        return ShardScorer(settings, model or PlainModel(settings.batch_size), Worker.this_process())

    def score_all(self, model: PlainModel | FoldModels | None = None, **changes: Any) -> list[ShardSummary]:
        scorer = self.scorer(model, **changes)
        return [scorer.score(shard) for shard in self.plan.shards()]

    def rows(self) -> list[dict[str, Any]]:
        return read_scores(self.output, RUN).to_table().to_pylist()

    def score_bytes(self) -> dict[str, bytes]:
        return {info.key: self.output.read(info.key) for info in self.output.list("scores")}

    def attempts_of(self, worker: Worker) -> AttemptLog:
        """Return a log that writes attempt markers as another worker of this submission would."""
        return AttemptLog(self.private, self.private, RUN, SUBMISSION, worker, lambda name: SubmissionState.LOST)


def make_run(
    directory: Path,
    files: dict[str, bytes],
    *,
    name: str = "out",
    images_per_shard: int = 100,
    folds: dict[str, int] | None = None,
    **limits: Any,
) -> MadeRun:
    """Plan `files` (keys ``study/name``) below ``directory/input``. Runs with different `name` share the input.

    With `folds` the studies that it names are planned alone, each with its fold.
    """
    inputs = open_store(str(directory / "input"))
    for key, data in files.items():
        if inputs.stat(key) is None:
            inputs.replace(key, data)
    output = open_store(str(directory / name))
    private = open_store(str(directory / name / "_private"))
    pseudonymizer = Pseudonymizer(b"k" * 32)
    plan = freeze_plan(
        InputConfig(uri=inputs.uri, layout="tree"),
        ShardsConfig(images_per_shard=images_per_shard),
        inputs,
        private,
        RUN,
        pseudonymizer,
        select=held_out_by({pseudonymizer.study(study): fold for study, fold in folds.items()}) if folds else None,
    )
    settings = RunSettings(
        run_id=RUN,
        submission=SUBMISSION,
        fingerprint="f" * 64,
        input_uri=inputs.uri,
        output_uri=output.uri,
        private_uri=private.uri,
        model=SPEC,
        batch_size=4,
        intra_op_threads=1,
        decoder_threads=3,
        frame_rule="all",
        region="whole",
        label_map=None,
        limits=LimitsConfig(**limits),
        simulated=False,
        has_masks=plan.head.n_masks > 0,
    )
    return MadeRun(plan, settings, output, private)
