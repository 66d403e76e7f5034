"""`privacy check` finds an identifier in every kind of place, says where, and never shows it."""

import base64
import gzip
import html
import io
import itertools
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from diagchd_batch import output_layout
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import ALLOWED_KINDS
from diagchd_batch.errors import RunFault
from diagchd_batch.images.identifying import CollectedValues, IdentifyingValue
from diagchd_batch.privacy.check import MAX_FINDINGS_OF_FILE, PrivacyReport, check_privacy
from diagchd_batch.privacy.readings import printed_texts
from diagchd_batch.process.owner_only_directory import private_directory
from diagchd_batch.results.identifying_values import ShardValues
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.storage import open_store
from tests.support.command_line import diagchd_batch
from tests.unit.results.made_scored_output import MadeScoredOutput

RUN_ID = "first"
NAME, UID, HOSPITAL_NUMBER = "Zephyrine^Quilläum", "1.2.276.0.7230010.3.1.2.99887766", "4711"
STUDY, SUBJECT = "visit-of-Ypsilänti", "subject-Ypsilänti"
IN_HEADERS = (
    ("PatientName", NAME),
    ("StudyInstanceUID", UID),
    ("PatientID", HOSPITAL_NUMBER),
    ("StudyDate", "20231224"),
    ("Manufacturer", "Plunktronics"),
    ("StudyDescription", "sensitivity"),
    ("PatientAge", "030"),
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an output in which no identifier is shown."""
    made = MadeScoredOutput(tmp_path_factory.mktemp("clean"), [(STUDY, SUBJECT, 2), ("study-of-b", "subject-of-b", 1)])
    made.run(RUN_ID)
    values = ShardValues()
    collected = tuple(IdentifyingValue(*pair) for pair in IN_HEADERS)
    values.add(made.tokens.study(STUDY), CollectedValues(collected, complete=True))
    values.record(made.output.private, RUN_ID, 0, "third", {})
    return Path(made.uri)


@pytest.fixture
def output(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """Return a copy of the output, on a machine on which no Ray runs."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    shutil.copytree(clean, tmp_path / "out")
    return open_output(str(tmp_path / "out"))


def _checked(output: Output) -> PrivacyReport:
    return check_privacy(output, ALLOWED_KINDS)


def _shown(report: PrivacyReport) -> str:
    """Return everything that a report says, which must name nobody."""
    text = repr(report).casefold()
    assert not [part for part in ("zephyrine", "quilläum", "ypsilänti", "99887766", "20231224") if part in text]
    return text


def test_an_output_without_identifiers_passes(output: Output) -> None:
    report = _checked(output)
    assert (report.findings, report.unsearched, report.ok) == ([], [], True)
    assert report.n_files > 4 and report.n_bytes > 1_000
    assert report.n_allowed == 1
    assert report.n_values > len(IN_HEADERS)
    assert report.n_vocabulary >= 1  # a description that is a word of this program
    assert report.n_short_numbers >= 1


def _png(text: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", text, zip=True)
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def _jpeg(text: str) -> bytes:
    exif = Image.Exif()
    exif[270] = text
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def _table(columns: dict[str, pa.Array], metadata: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file, compression="zstd")
    return file.getvalue()


def _cells(*values: object, kind: pa.DataType | None = None) -> bytes:
    return _table({"number": pa.array(range(len(values))), "text": pa.array(values, kind)})


def _zip(name: str, text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return file.getvalue()


def _field_metadata(text: str) -> bytes:
    file = io.BytesIO()
    field = pa.field("text", pa.string(), metadata={"description": text})
    pq.write_table(pa.table([pa.array(["x"])], schema=pa.schema([field])), file)
    return file.getvalue()


PLANTED: dict[str, tuple[str, Callable[[str], bytes], str]] = {
    "a cell": ("x.parquet", lambda text: _cells("a", f"of {text}."), "column text, row group 0, row 1"),
    "a cell of a dictionary": (
        "x.parquet",
        lambda text: _cells("a", text, kind=pa.dictionary(pa.int32(), pa.string())),
        "row 1",
    ),
    "a cell of lists": ("x.parquet", lambda text: _cells(["a"], ["b", text]), "column text, row group 0"),
    "a cell of structures": ("x.parquet", lambda text: _cells({"a": "b"}, {"a": text}), "row 1"),
    "a binary cell": ("x.parquet", lambda text: _cells(b"a", text.encode()), "row 1"),
    "a picture in a cell": ("x.parquet", lambda text: _cells(_png("a"), _png(text)), "metadata of a picture"),
    "the second row group": (
        "x.parquet",
        lambda text: _cells(*["a"] * 70_000, text),
        "column text, row group 0, row 70000",
    ),
    "metadata of a table": ("x.parquet", lambda text: _table({"a": pa.array([1])}, {"k": f"x {text}"}), "metadata"),
    "a key of metadata": ("x.parquet", lambda text: _table({"a": pa.array([1])}, {text: "x"}), "metadata"),
    "metadata in JSON": (
        "x.parquet",
        lambda text: _table({"a": pa.array([1])}, {"k": json.dumps({"a": text})}),
        "metadata",
    ),
    "metadata of a column": ("x.parquet", _field_metadata, "metadata"),
    "a column's name": ("x.parquet", lambda text: _table({text: pa.array([1])}), "names of columns"),
    "a log line": ("x.log", lambda text: f"one\ntwo: {text} (slow)\n".encode(), "line 2"),
    "a file that is no text": ("x.bin", lambda text: b"\0\1\2" + text.encode("ascii", "ignore") + b"\xff\0", "binary"),
    "UTF-16": ("x.txt", lambda text: f"one\n{text}".encode("utf-16"), "line 2"),
    "other case": ("x.txt", lambda text: text.upper().encode(), "line 1"),
    "JSON": ("x.json", lambda text: json.dumps({"a": [{"b": f"in {text}"}]}).encode(), "line 1"),
    "a key of JSON": ("x.json", lambda text: json.dumps({"a": {text: 1}}, ensure_ascii=False).encode(), "line 1"),
    "HTML": ("x.html", lambda text: f"<p>\n<b>{html.escape(text)}</b>".encode(), "line 2"),
    "entities of HTML": (
        "x.html",
        lambda text: ("<p>" + "".join(f"&#{ord(one)};" for one in text)).encode(),
        "escaped: html",
    ),
    "a picture in HTML": (
        "x.html",
        lambda text: b'<p>\n<img src="data:image/png;base64,' + base64.b64encode(_png(text)) + b'">',
        "line 2 (base64), metadata of a picture",
    ),
    "an URL": ("x.html", lambda text: f'<a href="?q={quote(text)}">'.encode(), "line 1"),
    "base64": ("x.txt", lambda text: b"x: " + base64.b64encode(text.encode()), "line 1 (base64)"),
    "hexadecimal": ("x.txt", lambda text: text.encode().hex().encode(), "line 1 (hexadecimal)"),
    "a picture": ("x.png", _png, "metadata of a picture"),
    "a photograph": ("x.jpg", _jpeg, "metadata of a picture"),
    "an archive": ("x.xlsx", lambda text: _zip("a.xml", f"<t>{text}</t>"), "member 1, line 1"),
    "a packed file": ("x.csv.gz", lambda text: gzip.compress(f"a,b\n{text},1".encode()), "unpacked, line 2"),
}


PLANTED_VALUES = {"PatientName": NAME.replace("^", " "), "StudyInstanceUID": UID}
NOT_ASCII_IN_BINARY = ("a file that is no text", "PatientName")  # `test_a_text_attribute_of_weights_is_read_whole`
PLACES = [pair for pair in itertools.product(PLANTED, PLANTED_VALUES) if pair != NOT_ASCII_IN_BINARY]


def planted_key(planted: str, kind: str) -> str:
    return f"reports/run_id={RUN_ID}/{kind}/{list(PLANTED).index(planted)}/{PLANTED[planted][0]}"


@pytest.fixture(scope="module")
def report_of_planted(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> PrivacyReport:
    """Return the report on one output that has a file for each way to plant each value."""
    directory = tmp_path_factory.mktemp("planted")
    shutil.copytree(clean, directory / "out")
    output = open_output(str(directory / "out"))
    for planted, kind in PLACES:
        output.storage.replace(planted_key(planted, kind), PLANTED[planted][1](PLANTED_VALUES[kind]))
    with pytest.MonkeyPatch.context() as patched:
        (directory / "temporary").mkdir()
        patched.setenv("TMPDIR", str(directory / "temporary"))
        return _checked(output)


@pytest.mark.parametrize(("planted", "kind"), PLACES)
def test_an_identifier_is_found_wherever_it_is_planted(
    report_of_planted: PrivacyReport, planted: str, kind: str
) -> None:
    key = planted_key(planted, kind)
    found = [one for one in report_of_planted.findings if one.file == key]
    assert {one.kind for one in found} == {kind}, found
    assert PLANTED[planted][2].casefold() in _shown(replace(report_of_planted, findings=found))


def test_findings_are_where_identifiers_were_planted_and_nowhere_else(report_of_planted: PrivacyReport) -> None:
    assert not report_of_planted.ok
    assert {one.file for one in report_of_planted.findings} == {planted_key(*place) for place in PLACES}


KINDS_OF_IDENTIFIERS = [
    (NAME, "PatientName"),
    ("Quilläum, Zephyrine", "PatientName"),
    ("QUILLA\u0308UM", "PatientName"),
    ("20231224", "StudyDate"),
    (STUDY, "study id"),
    (SUBJECT, "subject id"),
    (f"images/{STUDY}-1.png", "path"),
    (f"{STUDY}-1.png", "file name"),
    (f"{STUDY}-1", "file name"),
]


def test_every_kind_of_identifier_is_found(output: Output) -> None:
    for number, (value, _) in enumerate(KINDS_OF_IDENTIFIERS):
        output.storage.replace(f"runs/run_id={RUN_ID}/note-{number}.txt", f"- {value}: seen".encode())
    report = _checked(output)
    for number, (_, kind) in enumerate(KINDS_OF_IDENTIFIERS):
        found = [finding for finding in report.findings if finding.file.endswith(f"/note-{number}.txt")]
        assert kind in {finding.kind for finding in found}, (number, found)
    _shown(report)


def test_an_identifier_in_the_name_of_a_file_is_found_and_not_repeated(output: Output) -> None:
    output.storage.replace(f"reports/run_id={RUN_ID}/{STUDY}.html", b"nothing")
    (finding,) = _checked(output).findings
    assert (finding.file, finding.place) == (f"reports/run_id={RUN_ID}/[…].html", "the name of the file")


def test_the_private_tree_is_not_searched(output: Output) -> None:
    output.private.replace(output_layout.log_part(RUN_ID, "driver", 0), NAME.encode())
    output.private.replace(output_layout.gallery_file(RUN_ID), NAME.encode())
    assert _checked(output).ok


def test_what_is_only_a_part_of_a_word_is_not_found(output: Output) -> None:
    parts = (f"Pre{STUDY}", f"{STUDY}s", "visit-of", "120231224", "0.20231224", "20231224.5")
    for number, text in enumerate(parts):
        output.storage.replace(f"runs/run_id={RUN_ID}/note-{number}.txt", f"- {text} -".encode())
    report = _checked(output)
    assert report.ok, report.findings


def test_a_short_number_is_found_as_a_whole_cell_and_not_in_a_sentence(output: Output) -> None:
    output.storage.replace(f"runs/run_id={RUN_ID}/note.txt", b"4711 images")
    output.storage.replace(f"metrics/x/run_id={RUN_ID}/numbers.parquet", _table({"n": pa.array([4711])}))
    assert _checked(output).ok
    output.storage.replace(f"metrics/x/run_id={RUN_ID}/cells.parquet", _cells("4711 images", "4711"))
    output.storage.replace(f"runs/run_id={RUN_ID}/note.json", json.dumps({"n": 4711, "id": "4711"}).encode())
    found = {(finding.file.rpartition("/")[2], finding.place) for finding in _checked(output).findings}
    assert found == {("cells.parquet", "column text, row group 0, row 1"), ("note.json", "string 3")} | {
        ("cells.parquet", "statistics of column 1, row group 0")
    }


def test_values_of_allowed_kinds_and_words_of_the_program_are_not_found(output: Output) -> None:
    text = b"Plunktronics, sensitivity"
    output.storage.replace(f"runs/run_id={RUN_ID}/note.txt", text)
    assert _checked(output).ok
    report = check_privacy(output, ())
    assert [finding.kind for finding in report.findings] == ["Manufacturer"]


def test_many_findings_in_one_file_are_counted(output: Output) -> None:
    lines = MAX_FINDINGS_OF_FILE + 30
    output.storage.replace(f"runs/run_id={RUN_ID}/note.txt", f"{UID}\n".encode() * lines)
    report = _checked(output)
    assert (report.n_findings, len(report.findings)) == (lines, MAX_FINDINGS_OF_FILE)


@pytest.mark.parametrize("name", ["x.parquet", "x.zip"])
def test_a_file_that_cannot_be_searched_is_named(output: Output, name: str) -> None:
    content = _cells("a") if name.endswith(".parquet") else _zip("a", "b")
    output.storage.replace(name, content[: len(content) // 2])
    report = _checked(output)
    assert not report.ok and [line.partition(":")[0] for line in report.unsearched] == [name]


def test_files_of_a_local_ray_are_searched(output: Output) -> None:
    with private_directory() as directory:
        (directory / "ray" / "session").mkdir(parents=True)
        (directory / "ray" / "session" / "worker.out").write_text(f"one\n{UID}")
        (directory / "draft.txt").write_text(UID)  # drafts of plans name files, and only their owner can read them
        (finding,) = _checked(output).findings
    assert finding.file == f"local Ray, {directory}/ray/session/worker.out" and finding.place == "line 2"


def test_another_place_is_searched_too(output: Output, tmp_path: Path) -> None:
    place = tmp_path / STUDY  # where the user keeps it is not searched
    place.mkdir()
    (place / "table.csv").write_text(f"a\n{UID}\n")
    report = check_privacy(output, ALLOWED_KINDS, also=[open_store(str(place))])
    (finding,) = report.findings
    assert (finding.file, finding.place) == (str(place / "table.csv"), "line 2")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    directory = tmp_path / "package"
    shutil.copytree(bundled_path("configs/models/diagchd-compact"), directory)
    return directory


def test_a_package_is_searched_for_what_its_training_knows(output: Output, package: Path) -> None:
    # The plan of the training alone names the subject, as in an output that has scored nothing.
    for info in list(output.private.list(output_layout.RUNS_PREFIX)):
        output.private.replace(output_layout.TRAINING_TREE_PREFIX + info.key, output.private.read(info.key))
        output.private.delete(info.key)
    for info in list(output.storage.list()):
        if not info.key.startswith(output_layout.PRIVATE):
            output.storage.delete(info.key)
    place = ("privacy", "check", str(package), "--trained-in", output.storage.uri)
    assert diagchd_batch(*place).exit_code == 0
    weights = package / "weights" / "fold-0.h5"
    weights.write_bytes(weights.read_bytes() + b"\0subject-of-b\0")
    ended = diagchd_batch(*place)
    assert ended.exit_code == 1 and "fold-0.h5" in ended.printed and "of-b" not in ended.printed


@pytest.mark.parametrize("text", ["Jürgen Müller-Weiß", "Łódź, św. Anna", "Großmann", "松本 由紀子"])
def test_a_text_attribute_of_weights_is_read_whole(text: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_dataset("kernel", data=np.random.default_rng(0).normal(size=20_000).astype(np.float32))
        file["kernel"].attrs["trained by"] = text
        file.attrs["plain"] = "of ASCII"
    found = printed_texts((tmp_path / "weights.h5").read_bytes())
    assert any(text in part for part in found) and any("of ASCII" in part for part in found)
    assert "Müller" in printed_texts(b"\0\1" + "Müller".encode("utf-16-le") + b"\1\0")


@pytest.mark.parametrize(
    ("planted", "kind"), [("p-0123456789abcdef", "token"), ("1.2.276.0.7230010.3.1.2.99887766", "UID"), ("", None)]
)
def test_without_an_output_a_package_is_searched_for_tokens_and_uids(
    package: Path, planted: str, kind: str | None
) -> None:
    (package / "view_check.json").write_text(json.dumps({"note": f"trained without {planted}"}))
    ended = diagchd_batch("privacy", "check", str(package))
    assert ended.exit_code == (1 if kind else 0), ended.messages
    assert (f"{kind}: view_check.json" in ended.printed) == bool(kind)
    assert "name the output of the training" in ended.messages
    if not kind:
        assert diagchd_batch("privacy", "check", "diagchd-compact").exit_code == 0


def test_what_is_not_known_is_said(output: Output) -> None:
    for info in list(output.private.list()):
        if output_layout.IDENTIFYING_VALUES_FILE.fullmatch(info.key):
            output.private.delete(info.key)
    assert "kept no values of headers" in "".join(_checked(output).notes)
    for info in list(output.private.list()):
        output.private.delete(info.key)
    with pytest.raises(RunFault, match="is not the private tree"):
        _checked(output)


def test_the_command_prints_places_and_ends_with_1(output: Output) -> None:
    ended = diagchd_batch("privacy", "check", output.storage.uri)
    assert ended.exit_code == 0, ended.messages
    assert "0 places" in ended.printed
    output.storage.replace(f"runs/run_id={RUN_ID}/note.txt", NAME.encode())
    ended = diagchd_batch("privacy", "check", output.storage.uri)
    assert ended.exit_code == 1
    assert f"PatientName: runs/run_id={RUN_ID}/note.txt: line 1" in ended.printed
    assert "Zephyrine" not in ended.printed + ended.messages
    found = json.loads(diagchd_batch("privacy", "check", output.storage.uri, "--json").printed)
    assert (found["ok"], found["n_findings"], found["findings"][0]["kind"]) == (False, 1, "PatientName")
    allowed = diagchd_batch("privacy", "check", output.storage.uri, "--allow", "PatientName")
    assert allowed.exit_code == 0
