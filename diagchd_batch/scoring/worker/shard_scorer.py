"""Scores whole shards in one worker: attempt marker, pipeline, sources, commit. Knows nothing of Ray."""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, StorageFault
from diagchd_batch.failures import FailureCode
from diagchd_batch.process.scratch import scratch_faults
from diagchd_batch.results.columns import STATUS_OK, table_metadata
from diagchd_batch.results.commit import commit_shard, record_sources
from diagchd_batch.results.shard_writer import ShardWriter, shard_metadata
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, Source
from diagchd_batch.scoring.decoding.in_process import Decoder, DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
from diagchd_batch.scoring.liveness.attempts import Attempt, AttemptLog, ShardHistory, Worker
from diagchd_batch.scoring.liveness.heartbeats import submission_state
from diagchd_batch.scoring.liveness.progress import ShardSummary
from diagchd_batch.scoring.liveness.stall_guard import StallWatchdog
from diagchd_batch.scoring.worker.pipeline import Model, ShardPipeline, Turn
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.sources import open_source
from diagchd_batch.storage import open_store
from diagchd_batch.storage.timeouts import short_timeout_s
from diagchd_batch.studies.plan import open_plan
from diagchd_batch.studies.records import PlannedImage, ShardReference

PIXEL_BYTES_IN_FLIGHT = 512 << 20
"""Of decoded pixels before their resize, in all decoders of a worker; a single larger frame is decoded alone."""

MIN_NODES_TO_CONDEMN = 2

ENDLESS = 5
"""Times `limits.max_attempts`: so many deaths on one shard, wherever, and the run stops."""


class ShardScorer:
    """Scores shards with one model. `score` may be called from several threads: while one shard has the model, the
    next is being decoded. `images_done` (shard → image files read so far) may be read at any time.
    """

    def __init__(self, settings: RunSettings, model: Model, worker: Worker) -> None:
        self._settings = settings
        self._model = model
        timeout_s = settings.limits.object_timeout_s
        connections = 2 * settings.decoder_threads + 2
        self._input = open_source(settings.input_uri, object_timeout_s=timeout_s, max_connections=connections)
        self._output = open_store(settings.output_uri, object_timeout_s=timeout_s)
        self._private = open_store(settings.private_uri, object_timeout_s=timeout_s, owner_only=True)
        self._plan = open_plan(self._private, settings.run_id)
        self._metadata = table_metadata(
            run_id=settings.run_id, fingerprint=settings.fingerprint, simulated=settings.simulated
        )
        self._reader = FileReader(self._input, settings.frame_rule, settings.limits.max_file_bytes)
        self._decode_settings = DecodeSettings(
            settings.decode_limits, settings.model.height, settings.model.width, settings.label_map
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
        """Score and commit one shard; a shard that is committed already is left as it is.

        Raises StorageFault or RunFault: the run cannot go on, nothing half-written counts.
        """
        began_s = time.monotonic()
        if self._output.stat(output_layout.shard_file(self._settings.run_id, reference.shard)) is not None:
            return ShardSummary(reference.shard, reference.n_images, 0, 0, committed=False)
        history = self._attempts.history(reference.shard)
        condemned = self._is_condemned(history, reference.shard)
        attempt = self._attempts.open(reference.shard, isolated=history.crashed)
        outcome = "given up"
        self._watchdog.begin()
        try:
            summary = self._score(reference, attempt, condemned, began_s)
            outcome = "committed" if summary.committed else "discarded"
            return summary
        finally:
            self._watchdog.end()
            self.images_done.pop(reference.shard, None)
            with suppress(StorageFault):  # open for good, then: the next attempt isolates, which is slower, not wrong
                self._attempts.close(attempt, outcome)

    def _score(self, reference: ShardReference, attempt: Attempt, condemned: bool, began_s: float) -> ShardSummary:
        shard, run_id = reference.shard, self._settings.run_id
        images = self._plan.read_shard(reference)
        sources: list[Source] = []
        counts: Counter[str] = Counter()

        def on_source(source: Source) -> None:
            sources.append(source)
            self.images_done[shard] = len(sources)

        decoders = _DecoderPerThread(self._isolated_decoder if attempt.isolated else self._decoder)
        with Turn(self._model_lock) as turn, tempfile.TemporaryDirectory(prefix="diagchd-batch-") as directory:

            def before_batch(batch: int) -> None:
                if attempt.isolated:
                    self._attempts.note_batch(attempt, batch)

            pipeline = ShardPipeline(
                self._model,
                turn,
                _condemn if condemned else lambda image: self._reader.read(image, decoders.get()),
                decoder_threads=self._settings.decoder_threads,
                with_references=self._settings.has_masks,
                on_progress=self._watchdog.progress,
                before_batch=before_batch,
            )
            path = Path(directory) / "shard.parquet"
            with (
                scratch_faults(),
                decoders,
                ShardWriter(path, shard_metadata(self._metadata, shard)) as writer,
                closing(pipeline.run(images, on_source)) as rows,
            ):
                for row in rows:
                    counts[row.get("error_code") or STATUS_OK] += 1
                    writer.write([row])
            if not attempt.isolated:
                turn.give_back()  # the next shard may score while this one is committed
            record_sources(
                self._private, run_id, shard, attempt.attempt, path, (s.row() for s in sources), self._metadata
            )
            committed = commit_shard(self._output, run_id, shard, path)
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

    def _is_condemned(self, history: ShardHistory, shard: int) -> bool:
        """Whether the shard killed its worker so often, files isolated, on so many nodes, that it must be its fault."""
        deaths = history.deaths_at_one_batch()
        if len(deaths) < self._settings.limits.max_attempts:
            self._refuse_endless_deaths(history, shard)
            return False
        nodes = _nodes(deaths)
        if len(nodes) >= MIN_NODES_TO_CONDEMN:
            return True
        raise RunFault(
            f"the worker died {len(deaths)} times at the same place of shard {shard} although files were decoded in "
            f"processes of their own, each time on node {nodes[0]}; look for a fault there (memory, disk, processor, "
            "GPU driver), then give the same command again, on another node if there is one"
        )

    def _refuse_endless_deaths(self, history: ShardHistory, shard: int) -> None:
        """Deaths at ever other places are no fault of the shard; but Ray replaces workers for ever."""
        if len(history.deaths) >= ENDLESS * self._settings.limits.max_attempts:
            raise RunFault(
                f"workers died {len(history.deaths)} times on shard {shard}, at different places, although files were "
                f"decoded in processes of their own, on node(s) {', '.join(_nodes(history.deaths))}; look for what "
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
    """A decoder for each thread that asks, made when it first asks; all closed when the block is left."""

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


def _condemn(image: PlannedImage) -> Iterator[FrameInput | Source]:
    """The rows of a shard that nobody shall touch any more."""
    yield FrameInput(image, None, None, error=FailureCode.SHARD_CRASHED)
    yield Source(image, errors=[FailureCode.SHARD_CRASHED.value])
