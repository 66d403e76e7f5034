"""Codes of inputs that could not be used: the values of `error_code` and `reference_status` in the tables."""

from enum import StrEnum


class FailureCode(StrEnum):
    """Why an image has no score. Values are a contract: people script against them."""

    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    ARCHIVED = "archived"
    UNREADABLE = "unreadable"
    UNSUPPORTED_FORMAT = "unsupported_format"
    NOT_AN_IMAGE = "not_an_image"
    DECODE_ERROR = "decode_error"
    TOO_LARGE = "too_large"
    EMPTY_IMAGE = "empty_image"
    FRAME_NOT_FOUND = "frame_not_found"
    SOURCE_CHANGED = "source_changed"
    DECODE_TIMEOUT = "decode_timeout"
    WORKER_CRASHED = "worker_crashed"
    SHARD_CRASHED = "shard_crashed"
    NOT_FINITE = "not_finite"
    MASK_NOT_FOUND = "mask_not_found"
    MASK_UNREADABLE = "mask_unreadable"
    MASK_CHANGED = "mask_changed"
    MASK_INVALID_VALUES = "mask_invalid_values"
    MASK_SIZE_MISMATCH = "mask_size_mismatch"


REMEDIES: dict[FailureCode, str] = {
    FailureCode.NOT_FOUND: "the file named in the manifest does not exist; correct the manifest or restore the file",
    FailureCode.ACCESS_DENIED: "this one object may not be read; grant the worker's role or user access to it",
    FailureCode.ARCHIVED: "the object lies in an archive tier; restore it first",
    FailureCode.UNREADABLE: "the file could not be read (a broken link, a directory, an I/O error); check the storage",
    FailureCode.UNSUPPORTED_FORMAT: "its content is of no format that is read, whatever its name says; convert it to "
    "8-bit grey or RGB, or take it out",
    FailureCode.NOT_AN_IMAGE: "a DICOM object without a picture (a report, a DICOMDIR, a presentation state, a "
    "segmentation); nothing to do, or take it out",
    FailureCode.DECODE_ERROR: "the image is damaged or truncated; fetch it again from the archive",
    FailureCode.TOO_LARGE: "over limits.max_pixels or limits.max_file_bytes; raise the limit if the image is genuine",
    FailureCode.EMPTY_IMAGE: "the file is empty or the picture has no pixels; fetch it again from the archive",
    FailureCode.FRAME_NOT_FOUND: "the manifest asks for a frame that the file does not have; correct its column frame",
    FailureCode.SOURCE_CHANGED: "the file changed after planning; start a new run to score it as it is now",
    FailureCode.DECODE_TIMEOUT: "decoding did not end within limits.decode_timeout_s, twice, in a process of its own; "
    "raise the limit if the image is genuine",
    FailureCode.WORKER_CRASHED: "decoding this file killed its process twice; look at the file in a sandbox",
    FailureCode.SHARD_CRASHED: "the worker died repeatedly on this shard although files were isolated; "
    "give workers more memory, then submit with --select failed",
    FailureCode.NOT_FINITE: "the model gave no number as this frame's probability; check the weights, or try float32",
    FailureCode.MASK_NOT_FOUND: "the reference mask named for this image does not exist; correct mask_uri or "
    "restore the file",
    FailureCode.MASK_UNREADABLE: "the reference mask is damaged or not an image; export it again as PNG",
    FailureCode.MASK_CHANGED: "the reference mask changed after planning; start a new run to use it as it is now",
    FailureCode.MASK_INVALID_VALUES: "the mask has values other than classes 0, 1, 2; set input.label_map, or "
    "export it without lossy compression",
    FailureCode.MASK_SIZE_MISMATCH: "the mask is not of its image's size; export it with the image's height and width",
}
"""What a person can do about each code; shown in summaries and in `docs/`."""
