"""DICOM files for tests: made by pydicom from arrays, compressed by tools that the project did not write."""

import io
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage

PYDICOM_FILES = Path(pydicom.__file__).parent / "data"
"""The files that come with pydicom. Its own functions would try to fetch others from the network."""

HTJ2K = UID("1.2.840.10008.1.2.4.201")


def pydicom_file(name: str) -> Path:
    """Return the path of a file that comes with pydicom."""
    return next(PYDICOM_FILES.rglob(name))


def header(height: int, width: int, **elements: Any) -> Dataset:
    """Return the elements of an 8-bit grey image; `elements` replace or add some by keyword."""
    dataset = Dataset()
    values = {
        "SOPClassUID": UltrasoundMultiFrameImageStorage,
        "SOPInstanceUID": "2.25.1",
        "Modality": "US",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    } | elements
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def grey(values: np.ndarray, bits: int, **elements: Any) -> Dataset:
    """Return a grey image. `values` are [height, width] or [frames, height, width] of uint8 or (u)int16."""
    height, width = values.shape[-2:]
    frames = {"NumberOfFrames": values.shape[0]} if values.ndim == 3 else {}
    dataset = header(
        height,
        width,
        **{
            "BitsAllocated": 8 * values.itemsize,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(values.dtype.kind == "i"),
            **frames,
        }
        | elements,
    )
    dataset.PixelData = padded(values.tobytes())
    return dataset


def colour(values: np.ndarray, photometric: str = "RGB", **elements: Any) -> Dataset:
    """Return a colour image. `values` are [height, width, 3] or [frames, height, width, 3] of uint8 or uint16."""
    height, width = values.shape[-3:-1]
    frames = {"NumberOfFrames": values.shape[0]} if values.ndim == 4 else {}
    bits = 8 * values.itemsize
    dataset = header(
        height,
        width,
        **{
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": photometric,
            "PlanarConfiguration": 0,
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": bits - 1,
            **frames,
        }
        | elements,
    )
    dataset.PixelData = padded(values.tobytes())
    return dataset


def padded(data: bytes) -> bytes:
    """Return data with an even length."""
    return data + b"\0" * (len(data) % 2)


def compressed(
    dataset: Dataset, frames: Sequence[bytes | bytearray], syntax: UID, *, with_table: bool = True, fragments: int = 1
) -> bytes:
    """Return a file with frames that are compressed already."""
    dataset.PixelData = encapsulate(
        [bytes(frame) for frame in frames], fragments_per_frame=fragments, has_bot=with_table
    )
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return written(dataset, syntax)


def written(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian, *, preamble: bool = True) -> bytes:
    """Return the bytes of a file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "PixelData" in dataset and not syntax.is_encapsulated:
            dataset["PixelData"].VR = "OW" if dataset.get("BitsAllocated") == 16 else "OB"
        if syntax == "1.2.840.10008.1.2.2" and "PixelData" in dataset and dataset.get("BitsAllocated") == 16:
            dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
        dataset.save_as(
            buffer,
            enforce_file_format=preamble,
            little_endian=syntax != "1.2.840.10008.1.2.2",
            implicit_vr=syntax == "1.2.840.10008.1.2",
        )
    return buffer.getvalue()


def converted(data: bytes, directory: Path, command: str, *options: str) -> bytes:
    """Return a file that one of Debian's tools has encoded again: dcmcjpeg, dcmcjpls, dcmcrle, dcmconv or gdcmconv.

    The test is skipped where the tool is not installed; CI has it.
    """
    if shutil.which(command) is None:
        package = "libgdcm-tools" if command.startswith("gdcm") else "dcmtk"
        pytest.skip(f"{command} is not installed (Debian's package {package})")
    source, target = directory / "source.dcm", directory / "target.dcm"
    source.write_bytes(data)
    done = subprocess.run([command, *options, str(source), str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target.read_bytes()
