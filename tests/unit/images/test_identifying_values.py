"""Readers find what a file says about a person in its headers and metadata, whatever the state of the file."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.identifying import IdentifyingValue, collect
from diagchd_batch.images.identifying.dicom_elements import (
    confidential_elements,
    identifying_elements,
    is_confidential,
)
from diagchd_batch.images.identifying.picture_texts import texts_of_png
from diagchd_batch.images.identifying.values import MAX_CHARACTERS, MAX_VALUES
from diagchd_batch.images.limits import DecodeLimits

PIXELS = Image.fromarray(np.arange(12 * 16, dtype=np.uint8).reshape(12, 16))
XMP = "<x:xmpmeta><rdf:li>Ada Lovelace</rdf:li><d ps:City='Gr&#252;nstadt'/></x:xmpmeta>"


def _found(data: bytes) -> set[tuple[str, str]]:
    collected = collect(open_image(data, DecodeLimits()).identifying_values())
    assert collected.complete
    return {(kind, value) for kind, value in collected.values}


def _saved(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    PIXELS.save(file, form, **options)
    return file.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Mary Anning"
    exif[ExifTags.Base.XPAuthor] = "Grace Hopper".encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"ASCII\0\0\0patient 778899"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSDateStamp] = "2024:01:15"
    return exif


EXIF_VALUES = {
    ("EXIF Artist", "Mary Anning"),
    ("EXIF XPAuthor", "Grace Hopper"),
    ("EXIF UserComment", "patient 778899"),
    ("EXIF GPSDateStamp", "2024:01:15"),
}


def _png() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Author", "Ada Lovelace")
    chunks.add_text("Comment", "zipped words", zip=True)
    chunks.add_itxt("Hospital", "Überlingen", lang="de", tkey="Krankenhaus")
    chunks.add_itxt("Source", "zipped too", zip=True)
    chunks.add_itxt("XML:com.adobe.xmp", XMP)
    text = b"Description\0Patient: Jane Doe\nstudy 4711"
    last = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    data = _saved("PNG", pnginfo=chunks, exif=_exif())
    return data[:-12] + last + data[-12:]  # behind the pixels


PNG_VALUES = {
    ("PNG Author", "Ada Lovelace"),
    ("PNG Comment", "zipped words"),
    ("PNG keyword", "Hospital"),
    ("PNG keyword", "Krankenhaus"),
    ("PNG text", "Überlingen"),
    ("PNG Source", "zipped too"),
    ("XMP", "Ada Lovelace"),
    ("XMP", "Grünstadt"),
    ("PNG Description", "Patient: Jane Doe"),
    ("PNG Description", "Jane Doe"),
    ("PNG Description", "study 4711"),
}


def test_texts_of_a_png() -> None:
    assert _found(_png()) == PNG_VALUES | EXIF_VALUES


def test_texts_of_a_png_that_is_cut_off_are_those_before_the_cut() -> None:
    data = _png()
    found = {tuple(value) for value in texts_of_png(data[: data.index(b"IDAT") + 8])}
    assert {pair for pair in PNG_VALUES if pair[0] != "PNG Description"} <= found


def test_a_compressed_text_is_read_to_a_limit() -> None:
    bomb = zlib.compress(b"A" * 50_000_000)
    body = b"Comment\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    plain = _saved("PNG")
    ((kind, value),) = collect(texts_of_png(plain[:33] + chunk + plain[33:])).values
    assert (kind, value) == ("PNG Comment", "A" * MAX_CHARACTERS)


def test_texts_of_a_jpeg() -> None:
    data = _saved("JPEG", exif=_exif(), comment=b"made for Ada", xmp=XMP.encode())
    xmp = {("XMP", "Ada Lovelace"), ("XMP", "Grünstadt")}
    assert _found(data) == EXIF_VALUES | {("JPEG comment", "made for Ada")} | xmp


def test_texts_of_every_page_of_a_tiff() -> None:
    pages = []
    for number in range(2):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[270], tags[315], tags[65_000], tags[700] = f"page {number}", "Mary Anning", "private text", XMP.encode()
        page = io.BytesIO()
        PIXELS.save(page, "TIFF", tiffinfo=tags)
        pages.append(page.getvalue())
    first = _found(pages[0])
    assert {("TIFF ImageDescription", "page 0"), ("TIFF Artist", "Mary Anning"), ("XMP", "Ada Lovelace")} <= first
    assert ("TIFF tag 65000", "private text") in first
    clip = io.BytesIO()
    frames = [PIXELS.copy() for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.encoderinfo = {"tiffinfo": {270: f"page {number}"}}
    frames[0].save(clip, "TIFF", save_all=True, append_images=frames[1:], tiffinfo={270: "page 0"})
    file = open_image(clip.getvalue(), DecodeLimits())
    assert ("TIFF ImageDescription", "page 0") in set(collect(file.identifying_values()).values)
    assert file.frame(2).shape == (12, 16, 3)  # a frame can be read afterwards


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about damaged tags
@pytest.mark.parametrize("make", [_png, lambda: _saved("JPEG", exif=_exif()), lambda: _saved("TIFF")])
def test_damaged_metadata_stop_the_collection_and_nothing_else(make: Callable[[], bytes]) -> None:
    data = make()
    generator = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(8, len(data), 6):
            damaged[place] = generator.integers(256)
        try:
            file = open_image(bytes(damaged), DecodeLimits())
        except ItemError:
            continue
        assert len(collect(file.identifying_values()).values) < 100


def test_a_file_with_too_many_values_is_said_to_be_incomplete() -> None:
    assert not collect(IdentifyingValue("PNG text", f"value {n}") for n in range(MAX_VALUES + 1)).complete
    few = collect([IdentifyingValue("PNG text", "abc"), IdentifyingValue("PNG text", " value\0 ")])
    assert few == ((IdentifyingValue("PNG text", "value"),), True)


def _dataset() -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.276.0.99.5"
    item.PersonName = "Inner^Person"
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    data.SOPInstanceUID = UID("1.2.276.0.99.1")
    data.StudyDate, data.ContentTime = "20240115", "101112.5"
    data.Manufacturer, data.Modality = "Maker of scanners", "US"
    data.PatientName, data.PatientID = "Überall^Änne", "MRN-0042"
    data.PatientWeight, data.Rows, data.PatientAge = 71.25, 480, "030Y"
    data.OtherPatientNames = ["First^Name", "Second^Name"]
    data.ImageComments = "line one\r\nline two"
    data.ContentSequence = Sequence([item])
    block = data.private_block(0x0011, "HOUSE", create=True)
    block.add_new(1, "LO", "private words")
    block.add_new(2, "UN", b"bytes that are text")
    block.add_new(3, "OB", b"\x01\x02\x90hidden name\x00\xff")
    block.add_new(4, "OB", bytes(5_000))
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPInstanceUID = UID("1.2.276.0.99.1")
    data.file_meta.SourceApplicationEntityTitle = "WARD_7_AE"
    return data


DICOM_VALUES = {
    ("MediaStorageSOPInstanceUID", "1.2.276.0.99.1"),
    ("SourceApplicationEntityTitle", "WARD_7_AE"),
    ("SOPInstanceUID", "1.2.276.0.99.1"),
    ("StudyDate", "20240115"),
    ("ContentTime", "101112.5"),
    ("Manufacturer", "Maker of scanners"),
    ("PatientName", "Überall^Änne"),
    ("PatientID", "MRN-0042"),
    ("PatientWeight", "71.25"),
    ("PatientAge", "030Y"),
    ("OtherPatientNames", "First^Name"),
    ("OtherPatientNames", "Second^Name"),
    ("ImageComments", "line one"),
    ("ImageComments", "line two"),
    ("ReferencedSOPInstanceUID", "1.2.276.0.99.5"),
    ("PersonName", "Inner^Person"),
    ("PrivateCreator", "HOUSE"),
    ("private element (0011,1001)", "private words"),
    ("private element (0011,1002)", "bytes that are text"),
    ("private element (0011,1003)", "hidden name"),
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_elements_of_a_dicom_object(syntax: UID) -> None:
    data = _dataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    file = io.BytesIO()
    dcmwrite(file, data, enforce_file_format=True)
    read = pydicom.dcmread(io.BytesIO(file.getvalue()))
    found = collect(identifying_elements(read))
    assert found.complete
    registered_by_pydicom = {"ImplementationClassUID", "ImplementationVersionName"}
    assert {tuple(value) for value in found.values if value.kind not in registered_by_pydicom} == DICOM_VALUES
    assert {tuple(value) for value in collect(identifying_elements(_dataset())).values} >= DICOM_VALUES - {
        ("private element (0011,1003)", "hidden name")
    }


def test_elements_of_a_dicom_file_that_is_scored() -> None:
    path = get_testdata_file("examples_ybr_color.dcm")
    assert isinstance(path, str)
    found = _found(Path(path).read_bytes())
    uid = "1.2.840.114340.3.8251017118051.1.20160503.120850.2171"
    assert {("StudyInstanceUID", uid), ("PerformedProcedureStepID", "SONOPPS0002171")} <= found


def test_the_list_of_confidential_elements_is_that_of_the_standard() -> None:
    listed = confidential_elements()
    # The table of PS3.15 2024e has 621 rows: four stand for many elements, and each other one for one.
    assert len(listed) == 621 - 4
    assert all(pydicom.datadict.keyword_for_tag(tag) == keyword for tag, keyword in listed.items())
    identified = "PatientName PatientID PatientBirthDate AccessionNumber InstitutionName StationName StudyInstanceUID"
    assert set(identified.split()) <= set(listed.values())
    assert not {"Rows", "Columns", "Modality", "PixelSpacing", "Manufacturer"} & set(listed.values())
    assert all(map(is_confidential, (0x0011_1001, 0x5000_3000, 0x6002_4000, 0x6000_3000)))
    assert not is_confidential(0x0028_0010)


def test_every_listed_element_that_can_hold_text_is_found() -> None:
    data = Dataset()
    expected = set()
    for tag, keyword in confidential_elements().items():
        vr = dictionary_VR(tag)
        value: object
        if vr == "UI":
            value = f"1.2.276.0.99.{tag}"
        elif vr in ("SQ", "US", "OB", "UN") or tag >> 16 == 2:
            continue
        elif vr in ("DS", "IS"):
            value = str(tag)
        else:
            value = f"v{tag:08x}"
        with pydicom.config.disable_value_validation():
            data.add_new(tag, vr, value)
        expected.add((keyword, str(value)))
    assert {tuple(found) for found in identifying_elements(data)} == expected
    assert len(expected) > 500


def test_sequences_without_end_are_not_followed() -> None:
    inner = Dataset()
    inner.PatientName = "Deep^Down"
    for _ in range(40):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        inner = outer
    assert collect(identifying_elements(inner)).complete
