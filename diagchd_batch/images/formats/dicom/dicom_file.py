"""An opened DICOM file, whose frames are read and decoded one by one."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom.colours import colours_to_rgb, palette_table
from diagchd_batch.images.formats.dicom.frame_locations import locate_frames
from diagchd_batch.images.formats.dicom.frame_times import frame_times_ms
from diagchd_batch.images.formats.dicom.grey_values import Window, eight_bit_table, window_of
from diagchd_batch.images.formats.dicom.header_parser import DicomHeader, PixelElement
from diagchd_batch.images.formats.dicom.pixel_description import PALETTE, describe_pixels
from diagchd_batch.images.formats.dicom.transfer_syntaxes import Samples, check_syntax, decode_samples, follows_data
from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.identifying.dicom_elements import identifying_elements
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.spacing.pixel_size import region_calibration


class DicomFile:
    """The `ImageFile` of a DICOM object with pixels. Its frames may be decoded in several threads at once."""

    concurrent_frames = True

    def __init__(self, header: DicomHeader, pixels: PixelElement, limits: DecodeLimits) -> None:
        """Check what the header says about the pixels. Nothing is decoded.

        Raises:
            ItemError: `decode_error`, `empty_image`, `too_large` or `unsupported_format`.
        """
        check_syntax(header.transfer_syntax)
        self._header = header
        self._description = describe_pixels(header, limits)
        self._frames = locate_frames(header, pixels, self._description)
        self.n_frames = self._frames.n_frames
        self.has_frame_offsets = self._frames.has_frame_offsets
        if self.n_frames > limits.max_frames:
            raise ItemError(FailureCode.TOO_LARGE, f"more than {limits.max_frames} frames")
        self._times_ms = frame_times_ms(header.dataset, self.n_frames)
        self._calibration = region_calibration(header.dataset)
        self._grey_tables: dict[tuple[int, Window | None], np.ndarray] = {}
        self._palette: np.ndarray | None = None
        self._follows_data: dict[int, bool] = {}

    def geometry(self, index: int) -> FrameGeometry:
        """See `ImageFile.geometry`."""
        self._check(index)
        return FrameGeometry(self._description.height, self._description.width)

    def metadata(self, index: int) -> FrameMetadata:
        """See `ImageFile.metadata`."""
        self._check(index)
        return FrameMetadata(
            time_ms=None if self._times_ms is None else self._times_ms[index],
            pixel_height_mm=self._calibration.pixel_height_mm,
            pixel_width_mm=self._calibration.pixel_width_mm,
            spacing_status=self._calibration.spacing_status.value,
            sector=self._calibration.sector,
            colour_from="data" if self._contradicts(index) else "declared",
        )

    def stored_bytes(self, index: int) -> bytes:
        """Return the bytes of a frame as the file has them, compressed or not.

        Raises:
            ItemError: The file does not hold them (`decode_error`), or has no such frame (`frame_not_found`).
        """
        self._check(index)
        return self._frames.read(index)

    def frame(self, index: int) -> np.ndarray:
        """See `ImageFile.frame`."""
        samples = self._samples(index)
        if samples.values.ndim == 3:
            return colours_to_rgb(samples)
        indices = _masked(samples)
        if samples.meaning == PALETTE:
            if self._palette is None:
                self._palette = palette_table(
                    self._header.dataset, samples.bits, is_big_endian=self._header.is_big_endian
                )
            return self._palette[indices]
        grey = self._grey_table(index, samples)[indices]
        if samples.meaning == "MONOCHROME1":
            grey = ~grey
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)

    def grey_values(self, index: int) -> np.ndarray:
        """See `ImageFile.grey_values`."""
        samples = self._samples(index)
        if samples.values.ndim == 2 and samples.meaning != PALETTE:
            return _masked(samples)
        rgb_hwc_u8 = self.frame(index)
        grey = rgb_hwc_u8[:, :, 0]
        if not (np.array_equal(grey, rgb_hwc_u8[:, :, 1]) and np.array_equal(grey, rgb_hwc_u8[:, :, 2])):
            raise ItemError(FailureCode.UNSUPPORTED_FORMAT, "the picture is in colour, not grey; export it as grey")
        return grey

    def identifying_values(self) -> Iterator[IdentifyingValue]:
        """See `ImageFile.identifying_values`. Elements behind the pixels are not read."""
        return identifying_elements(self._header.dataset)

    def _samples(self, index: int) -> Samples:
        samples = decode_samples(
            self.stored_bytes(index),
            self._header.transfer_syntax,
            self._description,
            is_subsampled=self._frames.is_subsampled,
        )
        self._follows_data[index] = samples.follows_data
        return samples

    def _contradicts(self, index: int) -> bool:
        """Return whether the pixels contradict what the header says about colour."""
        if index not in self._follows_data:
            self._follows_data[index] = follows_data(
                self.stored_bytes(index),
                self._header.transfer_syntax,
                self._description,
                is_subsampled=self._frames.is_subsampled,
            )
        return self._follows_data[index]

    def _grey_table(self, index: int, samples: Samples) -> np.ndarray:
        window = window_of(self._header.dataset, index) if samples.bits > 8 else None
        key = samples.bits, window
        if key not in self._grey_tables:
            # A loop whose frames have a window each has as many tables, of which one is in use at a time.
            self._grey_tables = {
                key: eight_bit_table(self._header.dataset, samples.bits, self._description.is_signed, window)
            }
        return self._grey_tables[key]

    def _check(self, index: int) -> None:
        if not 0 <= index < self.n_frames:
            raise ItemError(
                FailureCode.FRAME_NOT_FOUND, f"frame {index} of a file with {self.n_frames}, counted from 0"
            )


def _masked(samples: Samples) -> np.ndarray:
    """Return the samples without bits that have no meaning."""
    return samples.values & np.array((1 << samples.bits) - 1, samples.values.dtype)
