"""Scores whole shards in one worker process: opens an attempt, runs the pipeline and commits the file. Needs no Ray."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.identifying.values import NOTHING_COLLECTED
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import STATUS_OK, shard_metadata, table_metadata
from diagchd_batch.results.commit import commit_shard, record_sources
from diagchd_batch.results.identifying_values import ShardValues
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord
from diagchd_batch.scoring.decoding.in_process import Decoder, DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
from diagchd_batch.scoring.liveness.heartbeats import submission_state
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import Attempt, AttemptLog, ShardHistory, Worker
from diagchd_batch.scoring.liveness.stall_watchdog import StallWatchdog
from diagchd_batch.scoring.worker.fold_models import FoldModels
from diagchd_batch.scoring.worker.pipeline import Model, ModelLease, ShardPipeline
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.sources import open_source
from diagchd_batch.sources.request_permits import RequestLimit
from diagchd_batch.storage import open_store
from diagchd_batch.storage.timeouts import short_timeout_s
from diagchd_batch.studies.plan.planned_images import PlannedImage, ShardReference
from diagchd_batch.studies.plan.stored_plan import open_plan

PIXEL_BYTES_IN_FLIGHT = 512 << 20
"""Limit on the bytes of decoded pixels before their resize, over all decoders of a worker. A larger frame is decoded
alone."""

FRAMES_AHEAD_PER_THREAD = 2
"""For each decoder thread, the number of frames of one loop that are decoded ahead."""

MIN_NODES_TO_BLAME_SHARD = 2
"""A shard is blamed for the deaths of its workers only if they died on at least this many nodes."""

MAX_DEATHS_FACTOR = 5
"""The run stops after this multiple of `limits.max_attempts` worker deaths on one shard, wherever they died."""


class ShardScorer:
    """Scores shards with one model.

    `score` may be called from several threads: while one shard uses the model, the next one is being decoded.

    Attributes:
        images_done: For each shard in progress, the number of image files read so far. May be read at any time.
    """

    def __init__(
        self,
        settings: RunSettings,
        model: Model | FoldModels,
        worker: Worker,
        request_limit: RequestLimit | None = None,
    ) -> None:
        """Open the storages and the plan of a run.

        Args:
            settings: The settings of the run's current submission.
            model: The model that scores; a `Predictor`, or anything else that implements the protocol. For the
                out-of-fold predictions of a training, the models of its folds.
            worker: This process, as attempt markers name it.
            request_limit: What the requests to a PACS share with the run's other workers; None if there are no others.

        Raises:
            StorageFault: A storage or the plan cannot be read.
        """
        self._settings = settings
        self._model = model
        timeout_s = settings.limits.object_timeout_s
        connections = 2 * settings.decoder_threads + 2
        self._input = open_source(
            settings.input_uri,
            object_timeout_s=timeout_s,
            max_connections=connections,
            dicomweb=settings.dicomweb,
            request_limit=request_limit,
        )
        self._output = open_store(settings.output_uri, object_timeout_s=timeout_s)
        self._private = open_store(settings.private_uri, object_timeout_s=timeout_s, owner_only=True)
        self._plan = open_plan(self._private, settings.run_id)
        self._metadata = table_metadata(
            run_id=settings.run_id, fingerprint=settings.fingerprint, simulated=settings.simulated
        )
        self._reader = FileReader(
            self._input,
            settings.frame_rule,
            settings.limits.max_file_bytes,
            ThreadPoolExecutor(settings.decoder_threads, thread_name_prefix="frames"),
            FRAMES_AHEAD_PER_THREAD * settings.decoder_threads,
        )
        self._decode_settings = DecodeSettings(
            settings.decode_limits, settings.model.height, settings.model.width, settings.label_map, settings.region
        )
        self._attempts = AttemptLog(
            self._private,
            open_store(settings.private_uri, object_timeout_s=short_timeout_s(timeout_s), owner_only=True),
            settings.run_id,
            settings.submission,
            worker,
            lambda submission: submission_state(self._private, settings.run_id, submission),
        )
        self._budget = ByteBudget(PIXEL_BYTES_IN_FLIGHT)
        self._watchdog = StallWatchdog(settings.limits.stall_timeout_s)
        self._model_lock = threading.Lock()
        self.images_done: dict[int, int] = {}

    def score(self, reference: ShardReference) -> ShardSummary:
        """Score and commit one shard. A shard that is already committed is left as it is.

        Args:
            reference: Where the shard's rows lie in the plan.

        Returns:
            The counts and times of the shard. `committed` is False if another worker committed it first.

        Raises:
            StorageFault: A storage failed as a whole. Nothing of the shard is committed.
            RunFault: The run cannot go on, for example because the shard killed its worker too often on one node.
        """
        began_s = time.monotonic()
        if self._output.stat(output_layout.shard_file(self._settings.run_id, reference.shard)) is not None:
            return ShardSummary(reference.shard, reference.n_images, 0, 0, committed=False)
        history = self._attempts.history(reference.shard)
        blamed = self._is_blamed(history, reference.shard)
        attempt = self._attempts.open(reference.shard, isolated=history.crashed)
        outcome = "given up"
        self._watchdog.begin()
        try:
            summary = self._score(reference, attempt, blamed, began_s)
            outcome = "committed" if summary.committed else "discarded"
            return summary
        finally:
            self._watchdog.end()
            self.images_done.pop(reference.shard, None)
            # If the marker cannot be closed, the next attempt isolates its decoders. That is slower, but not wrong.
            with suppress(StorageFault):
                self._attempts.close(attempt, outcome)

    def _score(self, reference: ShardReference, attempt: Attempt, blamed: bool, began_s: float) -> ShardSummary:
        shard, run_id = reference.shard, self._settings.run_id
        images = self._plan.read_shard(reference)
        model = self._model_of(images)
        sources: list[SourceRecord] = []
        identifying = ShardValues()
        counts: Counter[str] = Counter()

        def on_source(source: SourceRecord) -> None:
            for collected in source.collected:
                identifying.add(source.image.study_id, collected)
            source.collected.clear()
            sources.append(source)
            self.images_done[shard] = len(sources)

        decoders = _DecoderPerThread(self._isolated_decoder if attempt.isolated else self._decoder)
        with ModelLease(self._model_lock) as lease, scratch_file() as scores:

            def before_batch(batch: int) -> None:
                if attempt.isolated:
                    self._attempts.note_batch(attempt, batch)

            pipeline = ShardPipeline(
                model,
                lease,
                _shard_crashed if blamed else lambda image: self._reader.read(image, decoders.get()),
                decoder_threads=self._settings.decoder_threads,
                with_references=self._settings.has_masks,
                on_progress=self._watchdog.progress,
                before_batch=before_batch,
            )
            with (
                scratch_faults(),
                decoders,
                ShardWriter(scores, shard_metadata(self._metadata, shard)) as writer,
                closing(pipeline.run(images, on_source)) as rows,
            ):
                for row in rows:
                    counts[row.get("error_code") or STATUS_OK] += 1
                    writer.write([row])
            if not attempt.isolated:
                lease.release()  # the next shard may be scored while this one is committed
            identifying.record(self._private, run_id, shard, attempt.attempt, self._metadata)
            record_sources(
                self._private, run_id, shard, attempt.attempt, scores, (s.row() for s in sources), self._metadata
            )
            committed = commit_shard(self._output, run_id, shard, scores)
        n_ok = counts.pop(STATUS_OK, 0)
        return ShardSummary(
            shard=shard,
            n_images=len(images),
            n_ok=n_ok,
            n_failed=counts.total(),
            failures=dict(counts),
            seconds=time.monotonic() - began_s,
            model_seconds=pipeline.model_seconds,
            committed=committed,
            attempt=attempt.attempt,
        )

    def _model_of(self, images: Sequence[PlannedImage]) -> Model:
        """Return the model for a shard's images, which all have the same fold."""
        if not isinstance(self._model, FoldModels):
            return self._model
        folds = {image.fold for image in images}
        fold = folds.pop() if len(folds) == 1 else None
        if fold is None:
            raise RunFault(f"the plan of run {self._settings.run_id} does not name one fold for each shard")
        return self._model.of(fold)

    def _is_blamed(self, history: ShardHistory, shard: int) -> bool:
        """Return whether the shard itself must be at fault for the deaths of its workers.

        It is at fault if workers died at one batch `max_attempts` times, on several nodes, with decoders isolated.
        """
        deaths = history.deaths_at_one_batch()
        if len(deaths) < self._settings.limits.max_attempts:
            self._refuse_endless_deaths(history, shard)
            return False
        nodes = _nodes(deaths)
        if len(nodes) >= MIN_NODES_TO_BLAME_SHARD:
            return True
        raise RunFault(
            f"the worker died {len(deaths)} times at the same batch of shard {shard}, although files were decoded in "
            f"separate processes, each time on node {nodes[0]}; look for a fault of that node (memory, disk, "
            "processor, GPU driver), then give the same command again, on another node if there is one"
        )

    def _refuse_endless_deaths(self, history: ShardHistory, shard: int) -> None:
        """Raise RunFault after too many deaths at different batches. Ray would replace the workers without limit."""
        if len(history.deaths) >= MAX_DEATHS_FACTOR * self._settings.limits.max_attempts:
            raise RunFault(
                f"workers died {len(history.deaths)} times on shard {shard}, at different batches, although files "
                f"were decoded in separate processes, on node(s) {', '.join(_nodes(history.deaths))}; find out what "
                "kills them (memory limits, preemption), then give the same command again"
            )

    def _decoder(self) -> Decoder:
        return InProcessDecoder(self._decode_settings, self._budget)

    def _isolated_decoder(self) -> Decoder:
        limits = self._settings.limits
        return IsolatedDecoder(
            self._decode_settings,
            timeout_s=limits.decode_timeout_s,
            memory_bytes=limits.decode_memory_bytes,
            on_event=self._watchdog.progress,
        )


class _DecoderPerThread:
    """Gives each thread its own decoder, made on its first call of `get`. All are closed at the end of the block."""

    def __init__(self, make: Callable[[], Decoder]) -> None:
        self._make = make
        self._local = threading.local()
        self._all: list[Decoder] = []

    def get(self) -> Decoder:
        decoder = getattr(self._local, "decoder", None)
        if decoder is None:
            decoder = self._local.decoder = self._make()
            self._all.append(decoder)
        return decoder

    def __enter__(self) -> "_DecoderPerThread":
        return self

    def __exit__(self, *_: object) -> None:
        for decoder in self._all:
            decoder.close()


def _nodes(deaths: Sequence[Attempt]) -> list[str]:
    return sorted({attempt.worker.node for attempt in deaths})


def _shard_crashed(image: PlannedImage) -> Iterator[FrameInput | SourceRecord]:
    """Yield a failed frame for an image of a shard that is blamed, without touching the file."""
    yield FrameInput(image, None, None, error=FailureCode.SHARD_CRASHED)
    yield SourceRecord(image, errors=[FailureCode.SHARD_CRASHED.value], collected=[NOTHING_COLLECTED])
