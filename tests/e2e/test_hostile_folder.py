"""A folder with many kinds of unusable files: each gets a row with its error code, and the other files are scored."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagchd_batch.results import open_output
from diagchd_batch.results.query.database import open_query
from diagchd_batch.runs.query import UNUSABLE_FILES
from tests.support.scoring_runs import ScoringRun
from tests.support.trapped_decoder import HANGER, KILLER, set_traps, trap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _picture(mode: str = "RGB", kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        picture = picture.convert(mode)
    picture.save(buffer, kind)
    return buffer.getvalue()


def _bomb() -> bytes:
    """Return a PNG of a few hundred bytes that declares 400 million pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


FILES = {
    "empty.png": (b"", "empty_image"),
    "truncated.png": (_picture()[:400], "decode_error"),
    "truncated.jpg": (_picture(kind="JPEG")[:400], "decode_error"),
    "text.png": (b"this is a letter, not a picture", "unsupported_format"),
    "bomb.png": (_bomb(), "too_large"),
    "kills.png": (trap(KILLER), "worker_crashed"),
    "hangs.png": (trap(HANGER), "decode_timeout"),
    "sixteen-bit.png": (_picture("I;16"), None),
    "palette.png": (_picture("P"), None),
    "cmyk.jpg": (_picture("CMYK", "JPEG"), None),
    "good.png": (_picture(), None),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (name, (data, _)) in enumerate(FILES.items()):
        study = tmp_path / "input" / f"study-{number:02d}"
        study.mkdir(parents=True)
        (study / name).write_bytes(data)
    links = tmp_path / "input" / "study-links"
    links.mkdir()
    (links / "broken.png").symlink_to("nowhere.png")
    (links / "directory.png").mkdir()
    (links / "directory.png" / "inside.png").write_bytes(_picture())
    unreadable = links / "unreadable.png"
    unreadable.write_bytes(_picture())
    unreadable.chmod(0)
    return tmp_path / "input"


def test_each_file_gets_the_row_it_deserves(folder: Path, tmp_path: Path) -> None:
    traps = tmp_path / "traps"
    traps.mkdir()
    run = ScoringRun(
        tmp_path / "run",
        folder,
        {"limits.decode_timeout_s": 4, "limits.object_timeout_s": 5, "limits.stall_timeout_s": 20},
        environment={"PYTHONPATH": str(set_traps(traps))},
        unprivileged=True,
    )
    ending = run.finish()
    assert ending.exit_code == 3, ending.messages
    expected: dict[str, int] = {}
    for code in [code for _, code in FILES.values() if code] + ["unreadable", "access_denied"]:
        expected[code] = expected.get(code, 0) + 1
    counts = ending.summary["counts"]
    assert counts["failures"] == expected
    assert (
        counts["n_ok"] == len([code for _, code in FILES.values() if code is None]) + 1
    )  # The other scored image is directory.png/inside.png.
    by_image = {row["image_id"]: row["error_code"] for row in run.rows()}
    assert len(by_image) == len(FILES) + 3
    assert _codes_by_name(run) == {
        **{name: code for name, (_, code) in FILES.items()},
        "broken.png": "unreadable",
        "unreadable.png": "access_denied",
        "inside.png": None,
    }
    told = open_query(open_output(str(run.output)), {}).table(UNUSABLE_FILES)  # The summary suggests this query.
    assert {Path(uri).name for uri in told["uri"].to_pylist()} == {
        name for name, code in _codes_by_name(run).items() if code
    }
    assert "worker_crashed" in ending.messages or "worker_crashed" in str(ending.summary)


def _codes_by_name(run: ScoringRun) -> dict[str, str | None]:
    """Return file name → error code. The file names come from the private sources, the only place that has them."""
    import pyarrow.parquet as pq

    names = {}
    for path in (run.private_run / "sources").glob("*.pq"):
        for row in pq.read_table(path, columns=["image_id", "uri"]).to_pylist():
            names[row["image_id"]] = Path(row["uri"]).name
    return {names[row["image_id"]]: row["error_code"] for row in run.rows()}
