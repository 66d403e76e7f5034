"""From a planned image file to what the model is fed: reads, checks, digests, decodes; failures become codes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failures import FailureCode
from diagchd_batch.images.frames import FrameRule, chosen_frames
from diagchd_batch.results.columns import REFERENCE_OK
from diagchd_batch.scoring.decoding.in_process import Decoder, GridFrame, MaskRequest
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.sources import Source as ImageSource
from diagchd_batch.studies.records import PlannedImage

_MAX_ERROR_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference mask of a frame: `status` is ``ok`` with a label map on the model's grid, or a `mask_*` code."""

    status: str
    label_map_hw_u8: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class FrameInput:
    """One row to be: a decoded frame, or the code of its failure (`frame` None: the file failed as a whole)."""

    image: PlannedImage
    frame: int | None
    source_frames: int | None
    decoded: GridFrame | None = None
    error: FailureCode | None = None
    reference: Reference | None = None


@dataclass(slots=True)
class SourceRecord:
    """What an image was read from; complete once its last `FrameInput` was given. Identified: for `private/` alone."""

    image: PlannedImage
    sha256: str | None = None
    mask_sha256: str | None = None
    errors: list[str] = field(default_factory=list)

    def row(self) -> dict[str, str | None]:
        """A row of `schema.SOURCES`."""
        return {
            "image_id": self.image.image_id,
            "uri": self.image.uri,
            "sha256": self.sha256,
            "mask_uri": self.image.mask_uri,
            "mask_sha256": self.mask_sha256,
            "error": "; ".join(dict.fromkeys(self.errors))[:_MAX_ERROR_CHARACTERS] or None,
        }


class FileReader:
    """Expands image files to frames. StorageFault passes through: it is the run's trouble, not a file's."""

    def __init__(self, storage: ImageSource, frame_rule: FrameRule, max_file_bytes: int) -> None:
        self._storage = storage
        self._frame_rule = frame_rule
        self._max_file_bytes = max_file_bytes

    def read(self, image: PlannedImage, decoder: Decoder) -> Iterator[FrameInput | SourceRecord]:
        """Yield the frames of one file in order, then its `SourceRecord`. A frame is decoded when it is asked for."""
        source = SourceRecord(image)
        try:
            data, source.sha256 = self._read_planned(image.uri, image.size_bytes, image.etag, image.modified_ns)
            n_frames = decoder.open(data)
        except ItemError as error:
            source.errors.append(str(error))
            yield FrameInput(image, None, None, error=error.code)
        else:
            del data  # the decoder holds it
            mask = _Mask(self, source)
            frames = chosen_frames(self._frame_rule, image.frames, n_frames)
            for frame in frames:
                try:
                    decoded = decoder.frame(frame)
                except ItemError as error:
                    source.errors.append(str(error))
                    yield FrameInput(image, frame, n_frames, error=error.code)
                else:
                    reference = mask.reference(decoder, decoded, frame, lone_frame=len(frames) == 1)
                    yield FrameInput(image, frame, n_frames, decoded, reference=reference)
        yield source

    def read_mask(self, image: PlannedImage) -> tuple[bytes, str]:
        """The mask file's bytes and digest. Raises ItemError with a `mask_*` code."""
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
        """The object's bytes and their SHA-256, provided that it still is what was planned."""
        data, found = self._storage.read_versioned(key, max_bytes=self._max_file_bytes)
        planned = ObjectInfo(key, -1 if size_bytes is None else size_bytes, etag, modified_ns)
        if (found.size_bytes, found.etag, found.modified_ns) != (planned.size_bytes, planned.etag, planned.modified_ns):
            raise ItemError(FailureCode.SOURCE_CHANGED, f"{key}: planned as {planned}, found as {found}")
        return data, hashlib.sha256(data).hexdigest()


class _Mask:
    """The mask file of one image, read when its first frame is there. A bad mask does not fail its image."""

    def __init__(self, reader: FileReader, source: SourceRecord) -> None:
        self._reader = reader
        self._source = source
        self._data: bytes | None = None
        self._failure: FailureCode | None = None

    def reference(self, decoder: Decoder, decoded: GridFrame, frame: int, *, lone_frame: bool) -> Reference | None:
        if self._source.image.mask_uri is None:
            return None
        try:
            request = MaskRequest(decoded.source_height, decoded.source_width, frame, lone_frame)
            return Reference(REFERENCE_OK, decoder.mask(self._read_once(), request))
        except ItemError as error:
            self._source.errors.append(str(error))
            return Reference(error.code.value)

    def _read_once(self) -> bytes:
        if self._failure is not None:
            raise ItemError(self._failure, "as for the frame before")
        if self._data is None:
            try:
                self._data, self._source.mask_sha256 = self._reader.read_mask(self._source.image)
            except ItemError as error:
                self._failure = error.code
                raise
        return self._data
