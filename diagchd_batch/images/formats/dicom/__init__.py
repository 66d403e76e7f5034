"""The reader of DICOM files: cine loops and still images, frame by frame.

`read_header` is the one function that parses a DICOM header safely, from bytes or from a file that is read by ranges.
Everything that needs elements of a file (the index, calibration, exports) calls it.
"""

import logging
import warnings

from diagchd_batch.images.formats.dicom.dicom_reader import DicomReader
from diagchd_batch.images.formats.dicom.element_values import number_of, value_of
from diagchd_batch.images.formats.dicom.header_parser import DicomHeader, looks_like_dicom, read_header

__all__ = [
    "DicomHeader",
    "DicomReader",
    "looks_like_dicom",
    "number_of",
    "read_header",
    "value_of",
]

# The warnings of pydicom quote values of elements, which may tell who the patient is.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\b")
