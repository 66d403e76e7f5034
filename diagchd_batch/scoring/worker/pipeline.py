"""Scores the images of one shard: decoders → ordered frames → fixed batches → model → encoders → rows, streaming."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from diagchd_batch.failures import FailureCode
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.scoring.decoding.file_reader import FrameInput, Source
from diagchd_batch.scoring.worker.ordered_map import OrderedFeed
from diagchd_batch.scoring.worker.score_rows import FramePrediction, Row, failed_row, scored_row
from diagchd_batch.studies.records import PlannedImage

FILE_BYTES_IN_FLIGHT = 256 << 20
"""Of image and mask files read and not yet scored; a single larger file is read alone."""

_BATCHES_ENCODING = 2
_MAX_ENCODERS = 4


class Model(Protocol):
    """What the pipeline asks of `model.predictor.Predictor`."""

    spec: ModelSpec
    batch_size: int

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None): ...


class Turn:
    """The right to use the model, held for a whole shard: the next shard decodes meanwhile, and scores after it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def take(self) -> None:
        if not self._held:
            self._lock.acquire()
            self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


class ShardPipeline:
    """Scores one shard. `read` expands a file to its frames, in decoder threads; `on_progress` is called often.

    Batch k holds the frames at positions kB … (k+1)B − 1 of the shard, whatever failed and however decoding went, with
    zeros in place of failures and beyond the end; so results do not depend on timing. Memory does not depend on the
    number of images or frames. `before_batch` is called with k, the model's turn being held.
    """

    def __init__(
        self,
        model: Model,
        turn: Turn,
        read: Callable[[PlannedImage], Iterator[FrameInput | Source]],
        *,
        decoder_threads: int,
        with_references: bool,
        on_progress: Callable[[], None],
        before_batch: Callable[[int], None],
    ) -> None:
        self._model = model
        self._turn = turn
        self._read = read
        self._decoder_threads = decoder_threads
        self._with_references = with_references
        self._on_progress = on_progress
        self._before_batch = before_batch
        self._batches = 0
        self.model_seconds = 0.0

    def run(self, images: Sequence[PlannedImage], on_source: Callable[[Source], None]) -> Generator[Row, None, None]:
        """The rows of the shard in order; `on_source` gets each file's `Source` when its last frame is read."""
        feed = OrderedFeed(
            images,
            self._read,
            threads=self._decoder_threads,
            max_tasks=self._decoder_threads + 2 * self._model.batch_size,
            max_bytes=FILE_BYTES_IN_FLIGHT,
            size_of=_file_bytes,
        )
        encoders = ThreadPoolExecutor(min(_MAX_ENCODERS, os.cpu_count() or 1), thread_name_prefix="encode")
        encoding: deque[Future[Row]] = deque()
        batch: list[FrameInput] = []
        with encoders, feed:
            for item in feed:
                self._on_progress()
                if isinstance(item, Source):
                    on_source(item)
                    continue
                batch.append(item)
                if len(batch) == self._model.batch_size:
                    encoding.extend(self._score(batch, encoders))
                    batch = []
                    while len(encoding) > _BATCHES_ENCODING * self._model.batch_size:
                        yield encoding.popleft().result()
            if batch:
                encoding.extend(self._score(batch, encoders))
            while encoding:
                self._on_progress()
                yield encoding.popleft().result()

    def _score(self, batch: list[FrameInput], encoders: ThreadPoolExecutor) -> list[Future[Row]]:
        predictions = self._predict(batch)
        self._on_progress()
        threshold = self._model.spec.chd_threshold
        return [
            encoders.submit(_row, frame, prediction, threshold)
            for frame, prediction in zip(batch, predictions, strict=True)
        ]

    def _predict(self, batch: list[FrameInput]) -> list[FramePrediction | None]:
        number, self._batches = self._batches, self._batches + 1
        if all(frame.decoded is None for frame in batch):
            return [None] * len(batch)
        spec, size = self._model.spec, self._model.batch_size
        images = np.zeros((size, spec.height, spec.width, 3), np.uint8)
        references = np.zeros((size, spec.height, spec.width), np.uint8) if self._with_references else None
        for slot, frame in enumerate(batch):
            if frame.decoded is not None:
                images[slot] = frame.decoded.image_hwc_u8
            if references is not None and frame.reference is not None and frame.reference.label_map_hw_u8 is not None:
                references[slot] = frame.reference.label_map_hw_u8
        self._turn.take()
        self._before_batch(number)
        began_s = time.monotonic()
        prediction = self._model.predict(images, references)
        self.model_seconds += time.monotonic() - began_s
        losses, dices = prediction.seg_loss_b_f32, prediction.soft_dice_b_f32
        return [
            FramePrediction(
                prediction.label_maps_bhw_u8[slot],
                prediction.chd_probability_b_f32[slot],
                None if losses is None else losses[slot],
                None if dices is None else dices[slot],
            )
            if frame.decoded is not None
            else None
            for slot, frame in enumerate(batch)
        ]


def _row(frame: FrameInput, prediction: FramePrediction | None, threshold: float) -> Row:
    if prediction is None:
        return failed_row(frame)
    if not np.isfinite(prediction.chd_probability):  # any comparison with it is false: it would be called normal
        return failed_row(replace(frame, error=FailureCode.NOT_FINITE))
    return scored_row(frame, prediction, threshold)


def _file_bytes(image: PlannedImage) -> int:
    return (image.size_bytes or 0) + (image.mask_size_bytes or 0)
