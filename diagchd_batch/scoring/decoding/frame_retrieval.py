"""Retrieves the chosen frames of a loop from a source that sends frames, instead of the whole loop."""

from dataclasses import dataclass

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import ByteRanges
from diagchd_batch.images.formats.retrieved_loop import LoopHead, read_loop_head
from diagchd_batch.images.frames import MAX_CHOSEN_SHARE, FrameRule, chosen_frames
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.sources import FrameSource, ObjectInfo, Source
from diagchd_batch.studies.plan.planned_images import PlannedImage


@dataclass(frozen=True, slots=True)
class FramesOfLoop:
    """A loop of which the chosen frames were retrieved.

    Attributes:
        file: The header and these frames, as a file.
        frames: Numbers of the chosen frames, from 0, in ascending order. The loop may lack some that a manifest names.
    """

    file: ByteRanges
    frames: tuple[int, ...]


def retrieve_frames(
    source: Source, image: PlannedImage, frame_rule: FrameRule, max_file_bytes: int, *, whole_below_bytes: int
) -> FramesOfLoop | bytes | None:
    """Return the chosen frames of a loop, or the whole file if these are not to be had alone.

    The file is read until its header is known. If all of it is needed then, the same request goes on to its end.

    Args:
        source: The source. Only a `FrameSource` sends frames.
        image: The image file.
        frame_rule: The run's rule for frames.
        max_file_bytes: The largest file that is read.
        whole_below_bytes: A file that is known to be smaller is read whole.

    Returns:
        The frames, or the bytes of the whole file. None if the source does not send the frames, or if all frames are
        wanted: then the file has to be read.

    Raises:
        ItemError: The file cannot be read.
        StorageFault: The source as a whole cannot be reached.
    """
    if not isinstance(source, FrameSource) or (frame_rule == "all" and image.frames is None):
        return None
    if ObjectInfo(image.uri, image.size_bytes, image.etag, image.modified_ns) != ObjectInfo(image.uri):
        return None  # frames come without a version that could be compared with the planned one
    limits = DecodeLimits(max_file_bytes=max_file_bytes)
    found: tuple[LoopHead, tuple[int, ...]] | None = None

    def is_enough(head: bytes, size_bytes: int | None) -> bool | None:
        nonlocal found
        if size_bytes is not None and not whole_below_bytes <= size_bytes <= max_file_bytes:
            return False
        try:
            loop = read_loop_head(head, limits)
        except (ItemError, ValueError):
            return False
        if loop is None:
            return None
        frames = chosen_frames(frame_rule, image.frames, loop.n_frames)
        n_wanted = sum(frame < loop.n_frames for frame in frames)
        if not 0 < n_wanted <= MAX_CHOSEN_SHARE * loop.n_frames:
            return False
        found = loop, frames
        return source.can_send_frames(loop.transfer_syntax)

    data, is_whole = source.read_until(image.uri, is_enough, max_file_bytes)
    if is_whole or found is None:
        return data
    loop, frames = found
    wanted = [frame for frame in frames if frame < loop.n_frames]
    contents = source.read_frames(image.uri, wanted, loop.transfer_syntax, max_file_bytes)
    file = None if contents is None else loop.with_frames(contents)
    return None if file is None else FramesOfLoop(file, frames)
