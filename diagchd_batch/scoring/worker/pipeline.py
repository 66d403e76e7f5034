"""Scores the images of one shard as a stream: decode, group into fixed batches, predict, encode to rows."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.process.cores import available_cores
from diagchd_batch.scoring.decoding.file_reader import FrameInput, SourceRecord
from diagchd_batch.scoring.worker.parallel_map import ParallelMap
from diagchd_batch.scoring.worker.score_rows import Row, failed_row, scored_row
from diagchd_batch.studies.plan.planned_images import PlannedImage

FILE_BYTES_IN_FLIGHT = 256 << 20
"""Limit on the bytes of image and mask files that were read but not yet scored. A larger file is read alone."""

_BATCHES_ENCODING = 2
_MAX_ENCODERS = 4


class Model(Protocol):
    """What the pipeline needs from a model. `model.predictor.Predictor` implements it."""

    spec: ModelSpec
    batch_size: int

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """Score exactly `batch_size` images, as `Predictor.predict` does.

        Args:
            images_bhwc_u8: uint8 ``[batch_size, height, width, 3]``, RGB on the model's grid. The array is used
                again for the next batch.
            reference_bhw_u8: uint8 ``[batch_size, height, width]``, reference label maps with classes 0, 1 and 2. If
                None, no loss and no Dice are computed.

        Returns:
            The outputs of the network.
        """
        ...


class ModelLease:
    """The right of one shard to use the model.

    A shard keeps its lease until its last batch, so that shards are scored one after the other. While it waits for
    the lease, the next shard already decodes its first images.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def acquire(self) -> None:
        """Wait until no other shard holds the lease. Do nothing if this shard holds it already."""
        if not self._held:
            self._lock.acquire()
            self._held = True

    def release(self) -> None:
        """Let the next shard use the model. Do nothing if this shard does not hold the lease."""
        if self._held:
            self._held = False
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ShardPipeline:
    """Scores the images of one shard.

    Batch k holds the frames at positions kB to (k+1)B - 1 of the shard, where B is the batch size. Frames that failed
    and positions after the end of the shard are zeros. The scores therefore do not depend on which decoder was faster.
    The memory in use does not depend on the number of images or frames.
    """

    def __init__(
        self,
        model: Model,
        lease: ModelLease,
        read: Callable[[PlannedImage], Iterator[FrameInput | SourceRecord]],
        *,
        decoder_threads: int,
        with_references: bool,
        on_progress: Callable[[], None],
        before_batch: Callable[[int], None],
    ) -> None:
        """Prepare a pipeline for one call of `run`.

        Args:
            model: The model that scores the batches.
            lease: The lease on the model. It is acquired before the first batch; the caller releases it.
            read: Returns the frames of an image file and then its `SourceRecord`. Called in the decoder threads.
            decoder_threads: The number of files that are decoded at the same time.
            with_references: Whether the plan names reference masks. If not, the model computes no loss.
            on_progress: Called after every frame and every batch.
            before_batch: Called with the number of a batch (from 0) before it is scored, while the lease is held.
        """
        self._model = model
        self._lease = lease
        self._read = read
        self._decoder_threads = decoder_threads
        self._with_references = with_references
        self._on_progress = on_progress
        self._before_batch = before_batch
        self._batches = 0
        # One array for all batches. A fresh one of many images is fresh memory of the system, which it fills with zeros
        # page by page.
        self._images_bhwc_u8 = np.empty((model.batch_size, model.spec.height, model.spec.width, 3), np.uint8)
        self.model_seconds = 0.0

    def run(
        self, images: Sequence[PlannedImage], on_source: Callable[[SourceRecord], None]
    ) -> Generator[Row, None, None]:
        """Yield the rows of the shard in the order of the plan.

        Args:
            images: The image files of the shard, in the order of the plan.
            on_source: Called with the `SourceRecord` of each file after its last frame was read.
        """
        frames_and_sources = ParallelMap(
            images,
            self._read,
            threads=self._decoder_threads,
            max_tasks=self._decoder_threads + 2 * self._model.batch_size,
            max_bytes=FILE_BYTES_IN_FLIGHT,
            size_of=_file_bytes,
        )
        encoders = ThreadPoolExecutor(min(_MAX_ENCODERS, available_cores()), thread_name_prefix="encode")
        encoding: deque[Future[Row]] = deque()
        batch: list[FrameInput] = []
        with encoders, frames_and_sources:
            for item in frames_and_sources:
                self._on_progress()
                if isinstance(item, SourceRecord):
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
        """Predict one batch and start to encode its rows."""
        number, self._batches = self._batches, self._batches + 1
        prediction = None
        if any(frame.decoded is not None for frame in batch):
            prediction = self._predict(number, batch)
        self._on_progress()
        threshold = self._model.spec.chd_threshold
        return [encoders.submit(_row, frame, prediction, slot, threshold) for slot, frame in enumerate(batch)]

    def _predict(self, number: int, batch: list[FrameInput]) -> Prediction:
        spec, size = self._model.spec, self._model.batch_size
        images_bhwc_u8 = self._images_bhwc_u8
        reference_bhw_u8 = np.zeros((size, spec.height, spec.width), np.uint8) if self._with_references else None
        for slot, frame in enumerate(batch):
            images_bhwc_u8[slot] = 0 if frame.decoded is None else frame.decoded.image_hwc_u8
            if (
                reference_bhw_u8 is not None
                and frame.reference is not None
                and frame.reference.label_map_hw_u8 is not None
            ):
                reference_bhw_u8[slot] = frame.reference.label_map_hw_u8
        images_bhwc_u8[len(batch) :] = 0
        self._lease.acquire()
        self._before_batch(number)
        began_s = time.monotonic()
        prediction = self._model.predict(images_bhwc_u8, reference_bhw_u8)
        self.model_seconds += time.monotonic() - began_s
        return prediction


def _row(frame: FrameInput, prediction: Prediction | None, slot: int, threshold: float) -> Row:
    """Return the row of the frame at position `slot` of its batch."""
    if prediction is None or frame.decoded is None:
        return failed_row(frame)
    if not np.isfinite(prediction.chd_probability_b_f32[slot]):
        # Every comparison with NaN is false, so the frame would otherwise be called normal.
        return failed_row(replace(frame, error=FailureCode.NOT_FINITE))
    return scored_row(frame, prediction, slot, threshold)


def _file_bytes(image: PlannedImage) -> int:
    return (image.size_bytes or 0) + (image.mask_size_bytes or 0)
