"""Reads planned image files and decodes their frames for the model. Failures of a file become codes."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import ByteRanges, RangedFile, is_read_in_parts
from diagchd_batch.images.formats.image_file import HEAD_BYTES, PartsFile
from diagchd_batch.images.frames import FrameRule, chosen_frames
from diagchd_batch.images.identifying import CollectedValues
from diagchd_batch.images.identifying.values import NOTHING_COLLECTED
from diagchd_batch.results.columns import DIGEST_OF_FILE, DIGEST_OF_FRAMES, REFERENCE_OK
from diagchd_batch.scoring.decoding.frame_retrieval import FramesOfLoop, retrieve_frames
from diagchd_batch.scoring.decoding.in_process import Decoder, GridFrame, MaskRequest
from diagchd_batch.sources import ObjectInfo, VersionedRanges
from diagchd_batch.sources import Source as ImageSource
from diagchd_batch.studies.plan.planned_images import PlannedImage

PARTS_FROM_BYTES = 1 << 20
"""A smaller file is read at once. A few requests for its parts would take longer."""

_MAX_ERROR_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference mask of a frame.

    Attributes:
        status: ``ok``, or a `mask_*` failure code.
        label_map_hw_u8: uint8 ``[height, width]`` on the model's grid, the classes 0 background, 1 septum, 2 rest of
            the heart. None unless the status is ``ok``.
    """

    status: str
    label_map_hw_u8: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class FrameInput:
    """The input for one row of the scores: a decoded frame, or a failure.

    Attributes:
        image: The planned image file.
        frame: The number of the frame, from 0; None if the file failed as a whole.
        source_frames: The number of frames in the file; None if the file could not be opened.
        decoded: The pixels; None for a failure.
        error: The code of the failure; None for a decoded frame.
        reference: The reference mask; None if the plan names none, and for a failure.
    """

    image: PlannedImage
    frame: int | None
    source_frames: int | None
    decoded: GridFrame | None = None
    error: FailureCode | None = None
    reference: Reference | None = None


@dataclass(slots=True)
class SourceRecord:
    """What one image was read from, for the private tree. It names the file, so it must not leave that tree.

    Attributes:
        image: The planned image file.
        sha256: SHA-256 of the bytes that `digest_of` names, in hexadecimal; None if they could not be read.
        digest_of: ``file``, or ``frames`` if only a part of the file was read: then the bytes of its chosen frames,
            as they are stored, one after the other.
        mask_sha256: The same for the mask file; None if there is none.
        errors: Texts of the errors that the file or its mask gave. They may name files.
        collected: What the image and its mask say about the patient in their headers.
    """

    image: PlannedImage
    sha256: str | None = None
    digest_of: str | None = None
    mask_sha256: str | None = None
    errors: list[str] = field(default_factory=list)
    collected: list[CollectedValues] = field(default_factory=list)

    def row(self) -> dict[str, str | None]:
        """Return the row of the table of sources (`results.columns.SOURCES`)."""
        return {
            "image_id": self.image.image_id,
            "uri": self.image.uri,
            "sha256": self.sha256,
            "digest_of": self.digest_of,
            "mask_uri": self.image.mask_uri,
            "mask_sha256": self.mask_sha256,
            "error": "; ".join(dict.fromkeys(self.errors))[:_MAX_ERROR_CHARACTERS] or None,
        }


class FileReader:
    """Reads image files and expands them to frames."""

    def __init__(
        self,
        storage: ImageSource,
        frame_rule: FrameRule,
        max_file_bytes: int,
        frame_threads: Executor | None = None,
        frames_ahead: int = 0,
    ) -> None:
        """Prepare a reader.

        Args:
            storage: Where the files are.
            frame_rule: Which frames of a file are read, if the plan does not name them.
            max_file_bytes: The largest file that is read.
            frame_threads: Threads that decode several frames of one file at once, for formats that allow it. If it
                is None, each file is decoded in the thread that reads it.
            frames_ahead: The number of frames of one file that `frame_threads` decode ahead.
        """
        self._storage = storage
        self._frame_threads = frame_threads
        self._frames_ahead = frames_ahead
        self._frame_rule = frame_rule
        self._max_file_bytes = max_file_bytes

    def read(self, image: PlannedImage, decoder: Decoder) -> Iterator[FrameInput | SourceRecord]:
        """Yield the chosen frames of one file in order, and then its `SourceRecord`.

        A frame is decoded when it is asked for.

        Args:
            image: The image file.
            decoder: A decoder for this thread.

        Raises:
            StorageFault: The source as a whole cannot be reached. That is a fault of the run, not of the file.
        """
        source = SourceRecord(image)
        try:
            n_frames, frames, digest = self._open(image, decoder, source)
        except ItemError as error:
            source.errors.append(str(error))
            if not source.collected:
                source.collected.append(NOTHING_COLLECTED)
            yield FrameInput(image, None, None, error=error.code)
        else:
            mask = _Mask(self, source)
            for frame, decoded in zip(frames, self._decoded(decoder, frames, digest), strict=True):
                if isinstance(decoded, ItemError):
                    source.errors.append(str(decoded))
                    yield FrameInput(image, frame, n_frames, error=decoded.code)
                else:
                    reference = mask.reference(decoder, decoded, frame, lone_frame=len(frames) == 1)
                    yield FrameInput(image, frame, n_frames, decoded, reference=reference)
            if digest is not None:
                source.sha256 = digest.hexdigest()
            source.collected.append(_identifying_values(decoder))
            mask.collect(decoder)
        yield source

    def _open(
        self, image: PlannedImage, decoder: Decoder, source: SourceRecord
    ) -> tuple[int, tuple[int, ...], "hashlib._Hash | None"]:
        """Open a file, and read all of it unless only a part is needed.

        Returns:
            The number of its frames, those that are chosen and, if only a part is read, the digest of their bytes,
            which is filled when they are decoded.
        """
        if decoder.opens_parts and (parts := self._parts_if_enough(image)) is not None:
            n_frames = _opened(decoder, parts, source)
            frames = chosen_frames(self._frame_rule, image.frames, n_frames)
            if len(frames) < n_frames and decoder.has_frame_offsets:
                source.digest_of = DIGEST_OF_FRAMES
                return n_frames, frames, hashlib.sha256()
        retrieved = None
        if decoder.opens_parts:
            retrieved = retrieve_frames(
                self._storage, image, self._frame_rule, self._max_file_bytes, whole_below_bytes=PARTS_FROM_BYTES
            )
        if isinstance(retrieved, FramesOfLoop):
            source.digest_of = DIGEST_OF_FRAMES
            return _opened(decoder, retrieved.file, source), retrieved.frames, hashlib.sha256()
        if retrieved is not None:
            data, source.sha256 = retrieved, hashlib.sha256(retrieved).hexdigest()
        else:
            data, source.sha256 = self._read_planned(image.uri, image.size_bytes, image.etag, image.modified_ns)
        source.digest_of = DIGEST_OF_FILE
        n_frames = _opened(decoder, data, source)
        return n_frames, chosen_frames(self._frame_rule, image.frames, n_frames), None

    def _parts_if_enough(self, image: PlannedImage) -> RangedFile | None:
        """Return access to the parts of a file, or None if all of it is needed, or as well read at once.

        A read of a part raises ItemError if the file has changed since planning.
        """
        storage = self._storage
        if self._frame_rule == "all" and image.frames is None:
            return None
        if image.size_bytes is None or not PARTS_FROM_BYTES <= image.size_bytes <= self._max_file_bytes:
            return None
        if not isinstance(storage, VersionedRanges):
            return None
        planned = ObjectInfo(image.uri, image.size_bytes, image.etag, image.modified_ns)

        def fetch(start: int, length: int) -> bytes:
            data, found = storage.read_range_versioned(image.uri, start, length)
            if found != planned:
                raise ItemError(FailureCode.SOURCE_CHANGED, f"{image.uri}: planned as {planned}, found as {found}")
            return data

        parts = RangedFile(image.size_bytes, fetch)
        return parts if is_read_in_parts(parts.read(0, HEAD_BYTES)) else None

    def _decoded(
        self, decoder: Decoder, frames: Sequence[int], digest: "hashlib._Hash | None"
    ) -> Iterator[GridFrame | ItemError]:
        """Yield the frames in order, or the error of each. Several are decoded at once where the format allows it."""
        if self._frame_threads is None or not decoder.concurrent_frames or len(frames) == 1 or digest is not None:
            for frame in frames:
                yield _frame_or_error(decoder, frame)
                if digest is not None:
                    with suppress(ItemError):
                        digest.update(decoder.stored_bytes(frame))
            return
        ahead: deque[Future[GridFrame | ItemError]] = deque()
        try:
            for frame in frames:
                ahead.append(self._frame_threads.submit(_frame_or_error, decoder, frame))
                if len(ahead) > self._frames_ahead:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def read_mask(self, image: PlannedImage) -> tuple[bytes, str]:
        """Return the bytes of an image's mask file, and their SHA-256 in hexadecimal.

        Raises:
            ItemError: The mask cannot be read; the code is one of `mask_*`.
            StorageFault: The source as a whole cannot be reached.
        """
        assert image.mask_uri is not None
        try:
            return self._read_planned(image.mask_uri, image.mask_size_bytes, image.mask_etag, image.mask_modified_ns)
        except ItemError as error:
            codes = {
                FailureCode.NOT_FOUND: FailureCode.MASK_NOT_FOUND,
                FailureCode.SOURCE_CHANGED: FailureCode.MASK_CHANGED,
            }
            raise ItemError(codes.get(error.code, FailureCode.MASK_UNREADABLE), str(error)) from error

    def _read_planned(
        self, key: str, size_bytes: int | None, etag: str | None, modified_ns: int | None
    ) -> tuple[bytes, str]:
        """Return the bytes of an object and their SHA-256. Raise ItemError if the object has changed since planning."""
        data, found = self._storage.read_versioned(key, max_bytes=self._max_file_bytes)
        planned = ObjectInfo(key, size_bytes, etag, modified_ns)
        if found != planned:
            raise ItemError(FailureCode.SOURCE_CHANGED, f"{key}: planned as {planned}, found as {found}")
        return data, hashlib.sha256(data).hexdigest()


def digest_of_frames(file: PartsFile, frames: Sequence[int]) -> str:
    """Return the SHA-256 of the bytes of some frames as they are stored, in hexadecimal.

    Args:
        file: The file.
        frames: Numbers of the frames, from 0. Frames that the file does not hold are left out.
    """
    digest = hashlib.sha256()
    for frame in frames:
        with suppress(ItemError):
            digest.update(file.stored_bytes(frame))
    return digest.hexdigest()


def _opened(decoder: Decoder, data: bytes | ByteRanges, source: SourceRecord) -> int:
    """Open a file and return the number of its frames. If that fails, keep what its headers say about the patient."""
    try:
        return decoder.open(data)
    except ItemError as error:
        if error.code not in (FailureCode.WORKER_CRASHED, FailureCode.DECODE_TIMEOUT):
            source.collected.append(_identifying_values(decoder))
        raise


def _frame_or_error(decoder: Decoder, frame: int) -> GridFrame | ItemError:
    try:
        return decoder.frame(frame)
    except ItemError as error:
        return error


class _Mask:
    """The mask file of one image, read after its first frame is decoded. A bad mask does not fail the image."""

    def __init__(self, reader: FileReader, source: SourceRecord) -> None:
        self._reader = reader
        self._source = source
        self._data: bytes | None = None
        self._failure: FailureCode | None = None

    def reference(self, decoder: Decoder, decoded: GridFrame, frame: int, *, lone_frame: bool) -> Reference | None:
        if self._source.image.mask_uri is None:
            return None
        try:
            request = MaskRequest(decoded.source_height, decoded.source_width, decoded.region.box, frame, lone_frame)
            return Reference(REFERENCE_OK, decoder.mask(self._read_once(), request))
        except ItemError as error:
            self._source.errors.append(str(error))
            return Reference(error.code.value)

    def collect(self, decoder: Decoder) -> None:
        """Add to the source what the mask file says about the patient, if it was read."""
        if self._data is not None:
            self._source.collected.append(_identifying_values(decoder, self._data))

    def _read_once(self) -> bytes:
        if self._failure is not None:
            raise ItemError(self._failure, "the mask failed for an earlier frame")
        if self._data is None:
            try:
                self._data, self._source.mask_sha256 = self._reader.read_mask(self._source.image)
            except ItemError as error:
                self._failure = error.code
                raise
        return self._data


def _identifying_values(decoder: Decoder, mask: bytes | None = None) -> CollectedValues:
    try:
        return decoder.identifying_values(mask)
    except ItemError:
        return NOTHING_COLLECTED
