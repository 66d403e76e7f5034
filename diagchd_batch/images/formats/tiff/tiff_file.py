"""The `ImageFile` of a TIFF. Each full-size page is a frame, and a page that cannot be read costs only itself."""

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata
from diagchd_batch.images.formats.pixel_conversion import turned_upright
from diagchd_batch.images.formats.tiff.directories import Directory, Tag, damaged, read_directories
from diagchd_batch.images.formats.tiff.page_layout import Layout, layout_of
from diagchd_batch.images.formats.tiff.segments import read_samples
from diagchd_batch.images.formats.tiff.tiff_colours import to_labels, to_rgb
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.identifying.picture_texts import texts_of_picture
from diagchd_batch.images.limits import DecodeLimits

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How classic TIFF and BigTIFF begin, in both byte orders."""

_REDUCED_OR_TRANSPARENCY = 0b101
_OLD_REDUCED = 2

Conversion = Callable[[np.ndarray, Layout, Directory], np.ndarray]


class TiffFile:
    """The `ImageFile` of a TIFF. See `images.formats.image_file`."""

    concurrent_frames = False

    def __init__(self, data: bytes, pages: list[Directory | ItemError], limits: DecodeLimits) -> None:
        """Wrap the pages of the file `data` that are frames: a directory each, or the error of a damaged one."""
        self.n_frames = len(pages)
        self._data = data
        self._pages = pages
        self._limits = limits

    def geometry(self, index: int) -> FrameGeometry:
        """See `ImageFile.geometry`."""
        _, layout = self._page(index)
        return FrameGeometry(layout.height, layout.width)

    def metadata(self, index: int) -> FrameMetadata:
        """See `ImageFile.metadata`. TIFF says none of it."""
        return FrameMetadata()

    def frame(self, index: int) -> np.ndarray:
        """See `ImageFile.frame`."""
        return self._decode(index, to_rgb)

    def grey_values(self, index: int) -> np.ndarray:
        """See `ImageFile.grey_values`."""
        return self._decode(index, to_labels)

    def identifying_values(self) -> Iterator[IdentifyingValue]:
        """See `ImageFile.identifying_values`."""
        yield from texts_of_tiff(self._data)

    def check_a_frame(self) -> None:
        """Check by the headers that at least one frame can be read.

        Raises:
            ItemError: None can be read, for the reason of the first one.
        """
        first_error = None
        for index in range(self.n_frames):
            try:
                self._page(index)
                return
            except ItemError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _page(self, index: int) -> tuple[Directory, Layout]:
        if not 0 <= index < self.n_frames:
            raise ItemError(
                FailureCode.FRAME_NOT_FOUND, f"frame {index} of a file with {self.n_frames}, counted from 0"
            )
        page = self._pages[index]
        if isinstance(page, ItemError):
            raise ItemError(page.code, page.detail)
        layout = layout_of(page)
        if layout.width * layout.height > self._limits.max_pixels:
            raise ItemError(
                FailureCode.TOO_LARGE,
                f"{layout.width} x {layout.height} pixels, over limits.max_pixels ({self._limits.max_pixels})",
            )
        return page, layout

    def _decode(self, index: int, convert: Conversion) -> np.ndarray:
        directory, layout = self._page(index)
        try:
            samples_hwc = read_samples(self._data, directory, layout, self._limits.max_pixels)
            return turned_upright(convert(samples_hwc, layout, directory), layout.orientation)
        except (ItemError, MemoryError):
            raise
        except Exception as error:  # codecs raise exceptions of a dozen kinds
            raise damaged(f"{type(error).__name__}: {error}") from error


def open_tiff(data: bytes, limits: DecodeLimits) -> TiffFile:
    """Return an opened TIFF, of which the directories have been read. Nothing is decoded.

    Args:
        data: The whole file, which begins with one of `TIFF_SIGNATURES`.
        limits: Bounds that are checked before anything is decoded.

    Raises:
        ItemError: None of the frames can be read, for the reason of the first one (`unsupported_format`, `too_large`,
            `decode_error` or `empty_image`), or the file has too many pages (`too_large`).
    """
    pages = read_directories(data, limits.max_frames)
    frames = [page for page in pages if isinstance(page, ItemError) or not _is_reduced(page)]
    file = TiffFile(data, frames or pages, limits)
    file.check_a_frame()
    return file


class _TagsOfTiff(TiffImageFile):
    """The tags of a TIFF. Pillow does not look at the pixels, so that they may be of a kind that it cannot read."""

    def _setup(self) -> None:
        self._size, self._mode = (1, 1), "L"


def texts_of_tiff(data: bytes) -> Iterator[IdentifyingValue]:
    """Yield the texts in the tags of all pages, also of those whose pixels are not read.

    Args:
        data: The whole file.

    Yields:
        Texts of tags, EXIF, XMP and IPTC.
    """
    yield from texts_of_picture(_TagsOfTiff(io.BytesIO(data)))


def _is_reduced(page: Directory) -> bool:
    """Return whether a page is a thumbnail or a transparency mask, by the tag of today or that of old files."""
    try:
        if page.integer(Tag.SUBFILE_TYPE, 0) & _REDUCED_OR_TRANSPARENCY:
            return True
        return Tag.SUBFILE_TYPE not in page and page.integer(Tag.OLD_SUBFILE_TYPE, 1) == _OLD_REDUCED
    except ItemError:  # a damaged tag does not say that the page is less than a frame
        return False
