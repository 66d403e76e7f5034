"""The worker of one process: one model and one scorer, called with one shard at a time. It does not import Ray.

A worker returns its faults instead of raising them. Ray would retry a call that raises without limit, and write the
text of the exception to its logs.
"""

import json
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from diagchd_batch import errors, output_layout
from diagchd_batch.cluster.node_checks.nodes_joining_later import late_node_problem
from diagchd_batch.errors import DiagchdBatchError, ItemError, RunFault, StorageFault
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.scoring.liveness.heartbeats import Heartbeat, WorkerBeat, worker_name
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.liveness.stop_conditions import Ending, StopConditions
from diagchd_batch.scoring.worker.fold_models import FoldModels
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.sources.request_permits import Permits, RequestLimit
from diagchd_batch.storage import open_store
from diagchd_batch.storage.timeouts import short_timeout_s
from diagchd_batch.studies.plan.planned_images import ShardReference


class ShardWorker:
    """Made once per worker; called with a shard reference as a batch of one row, several calls at a time.

    Args:
        settings: The submission.
        permits: What hands out the permits of requests to a PACS, for all workers of the run.

    Attributes:
        node_problem: Why this node cannot work on the run, with the remedy; empty if it can. A worker with a problem
            must not be called.
    """

    def __init__(self, settings: RunSettings, permits: Permits | None = None) -> None:
        self._settings = settings
        patience_s = short_timeout_s(settings.limits.object_timeout_s)
        self._private = open_store(settings.private_uri, object_timeout_s=patience_s, owner_only=True)
        self._worker = Worker.this_process()
        self._scorer: ShardScorer | None = None
        self._start_fault: dict[str, Any] | None = None
        self._gate = StopConditions(
            self._private,
            settings.run_id,
            settings.submission,
            settings.until_s,
            settings.least_s_per_image,
            settings.also_stopped_by,
        )
        self._devices: list[str] = []
        self._began_s: float | None = None  # at the first shard
        self._images = 0
        self._heartbeat = Heartbeat(
            self._private,
            settings.run_id,
            worker_name(settings.submission, self._worker.worker),
            WorkerBeat,
            self._beat,
        )
        self.node_problem = ""
        try:
            if settings.has_node_proof and (problem := late_node_problem(settings.places)):
                self.node_problem = problem
                return
            self._heartbeat.__enter__()  # for as long as the process lives
            from diagchd_batch.model.predictor import Predictor  # TensorFlow, in workers alone

            def load(spec: ModelSpec) -> Predictor:
                predictor = Predictor(spec, settings.batch_size, settings.intra_op_threads)
                self._devices = list(predictor.devices)
                return predictor

            model: Predictor | FoldModels
            if settings.scores_by_fold:
                model = FoldModels(settings.model, load)
                model.of(0)  # a package that cannot be loaded is noticed before the first shard
            else:
                model = load(settings.model)
            self._heartbeat.beat()  # a short run may end before the next one, and its record would name no device
            limit = None if permits is None else RequestLimit(permits)
            self._scorer = ShardScorer(settings, model, self._worker, limit)
        except Exception as error:
            fault = self._fault(error)
            self._start_fault = fault | {"message": f"node {self._worker.node}: {fault['message']}"}

    def __call__(self, batch: Mapping[str, Any]) -> str:
        """Score one shard.

        Args:
            batch: The fields of one `ShardReference`, each as an array with one element.

        Returns:
            A JSON object with a `summary` or a `fault`, for `read_outcomes`.
        """
        reference = ShardReference(**{name: int(values[0]) for name, values in batch.items()})
        if self._scorer is None:
            return json.dumps({"fault": self._start_fault})
        try:
            outcome = {"summary": asdict(self._score(self._scorer, reference))}
        except Exception as error:
            outcome = {"fault": self._fault(error)}
        return json.dumps(outcome)

    def _score(self, scorer: ShardScorer, reference: ShardReference) -> ShardSummary:
        if refusal := self._gate.refusal(reference.n_images):
            return ShardSummary(reference.shard, reference.n_images, 0, 0, committed=False, declined=refusal)
        self._began_s = self._began_s or time.monotonic()
        summary = scorer.score(reference)
        if summary.committed:
            self._images += summary.n_images
            self._gate.note(summary.n_images, summary.seconds)
        return summary

    def _beat(self) -> dict[str, Any]:
        images_done = dict(self._scorer.images_done) if self._scorer else {}
        working_s = 0.0 if self._began_s is None else time.monotonic() - self._began_s
        return {
            "worker": self._worker.worker,
            "devices": self._devices,
            "images_done": images_done,
            "images_per_s": (self._images + sum(images_done.values())) / working_s if working_s else 0.0,
        }

    def _fault(self, error: Exception) -> dict[str, str]:
        if isinstance(error, DiagchdBatchError):
            return {"kind": type(error).__name__, "message": str(error)}
        name = f"{self._settings.submission}-{self._worker.worker}-{time.time_ns()}"
        key = output_layout.fault_file(self._settings.run_id, name)
        with suppress(StorageFault, ItemError):
            self._private.create(key, traceback.format_exc().encode())
        # The text of the exception may name a file, so it stays in the private tree.
        message = (
            f"a worker failed with an unexpected {type(error).__name__}; its traceback is in the private tree, {key}"
        )
        return {"kind": RunFault.__name__, "message": message}


def read_outcomes(texts: Iterable[str]) -> list[ShardSummary]:
    """Return the summaries in the answers of workers.

    Args:
        texts: What `ShardWorker` returned.

    Raises:
        DiagchdBatchError: An answer is a fault. The error has the type that it had in the worker.
    """
    summaries = []
    for text in texts:
        outcome = json.loads(text)
        if "fault" in outcome:
            kind = getattr(errors, outcome["fault"]["kind"], RunFault)
            raise kind(outcome["fault"]["message"])
        summary = ShardSummary(**outcome["summary"])
        summaries.append(replace(summary, declined=Ending(summary.declined)) if summary.declined else summary)
    return summaries
