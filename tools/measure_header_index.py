"""Measure how fast an archive of DICOM headers is indexed, with a kill in the middle, and how much memory it takes.

python -m tools.measure_header_index                          # 100,000 files; its output stands in docs/benchmarks.md
python -m tools.measure_header_index --files 2000

The files have the header of a cine loop, with ultrasound regions and no pixels. They are written to a temporary
directory first, so they are in the page cache of the machine when they are read.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

_PLACEHOLDER = "19999999"
_FILES_PER_DIRECTORY = 1000
_POLL_S = 0.05


def template() -> bytes:
    """Return a file whose identifiers have the number 19999999."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = pydicom.uid.UltrasoundMultiFrameImageStorage
    for keyword, root in (("SOPInstanceUID", 1), ("StudyInstanceUID", 2), ("SeriesInstanceUID", 3)):
        setattr(dataset, keyword, pydicom.uid.UID(f"1.2.826.0.1.{root}.{_PLACEHOLDER}"))
    dataset.StudyDate, dataset.StudyTime, dataset.Modality = "20260102", "101500", "US"
    dataset.Manufacturer, dataset.ManufacturerModelName = "GE Healthcare", "Voluson E10"
    dataset.InstitutionName, dataset.StudyDescription, dataset.SeriesDescription = "Simulated", "Fetal echo", "4CH"
    dataset.PatientID, dataset.IssuerOfPatientID = f"P{_PLACEHOLDER}", "SIMULATED"
    dataset.PatientName, dataset.PatientSex, dataset.AccessionNumber = f"Simulated^{_PLACEHOLDER}", "F", _PLACEHOLDER
    dataset.SequenceOfUltrasoundRegions = Sequence([_region(), _region()])
    dataset.BodyPartExamined, dataset.CineRate, dataset.FrameTime = "HEART", "40", "25"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 100, 600, 800, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_FULL_422", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.add_new(0x00090010, "LO", "SIMULATED PRIVATE")
    dataset.add_new(0x00091001, "OB", bytes(1024))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.file_meta = meta
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def _region() -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 100, 50
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 700, 550
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
    return region


def write_headers(directory: Path, n_files: int) -> None:
    """Write files below a directory, each of a study and a patient of its own.

    Args:
        directory: The directory.
        n_files: The number of files.
    """
    data, placeholder = template(), _PLACEHOLDER.encode()
    for number in range(n_files):
        folder = directory / f"{number // _FILES_PER_DIRECTORY:04d}"
        if number % _FILES_PER_DIRECTORY == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06d}.dcm").write_bytes(data.replace(placeholder, b"1%07d" % number))


@dataclass(frozen=True)
class IndexRun:
    """One call of `diagchd-batch index`. `counts` is its output, None if it was killed."""

    seconds: float
    processor_s: float
    peak_memory_mb: float
    counts: dict[str, Any] | None


def run_index(job: Path, private: Path, kill_after: int | None = None) -> IndexRun:
    """Run the command in a process of its own.

    Args:
        job: The job file.
        private: The private tree, in which the committed rows are counted.
        kill_after: The number of committed rows after which the process is killed; None for no kill.
    """
    command = [sys.executable, "-m", "diagchd_batch", "index", str(job), "--json"]
    began_s = time.monotonic()
    peak_kb = 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not ended:
            if kill_after is not None and committed_rows(private) >= kill_after:
                process.send_signal(signal.SIGKILL)
                kill_after = None
            peak_kb = _peak_kb(process.pid) or peak_kb
            time.sleep(_POLL_S)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.monotonic() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        counts = json.loads(out.read()) if process.returncode == 0 else None
    return IndexRun(seconds, usage.ru_utime + usage.ru_stime, peak_kb / 1000, counts)


def _peak_kb(pid: int) -> int:
    """Return the largest memory that a program has used since it was started; 0 if it has ended.

    The peak of `getrusage` would be at least the memory that this process had when it started the other one.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def committed_rows(private: Path) -> int:
    """Return the rows in the tables of the index, whether a head names them or not."""
    return sum(pq.read_metadata(path).num_rows for path in (private / "header_index").glob("*.pq"))


def measure(directory: Path, n_files: int) -> Iterator[str]:
    """Yield the lines of the measurement.

    Args:
        directory: An empty directory.
        n_files: The number of files.
    """
    archive, output = directory / "archive", directory / "out"
    write_headers(archive, n_files)
    job = directory / "job.yaml"
    job.write_text(
        f"version: 1\ninput: {{uri: {archive}, layout: tree, simulated: true}}\n"
        f"model: {{name: diagchd-compact}}\noutput: {{uri: {output}}}\n"
    )
    private = output / "_private"
    yield f"{'files':22} {n_files:,} of {len(template()):,} bytes"
    killed = run_index(job, private, kill_after=n_files // 2)
    kept = committed_rows(private)
    told = f"after {killed.seconds:.1f} s, {killed.processor_s:.1f} s of processor time"
    yield f"{'killed (SIGKILL)':22} {told}, with {kept:,} headers committed"
    rest = run_index(job, private)
    assert rest.counts is not None and rest.counts["n_taken_over"] == kept
    assert rest.counts["n_read"] == n_files - kept and rest.counts["kinds"] == {"image": n_files}
    yield f"{'same command again':22} {_told(rest)}; {kept:,} taken over, none of them read twice"
    again = run_index(job, private)
    assert again.counts is not None and again.counts["n_read"] == 0
    yield f"{'nothing has changed':22} {_told(again)}"
    peak_mb = max(run.peak_memory_mb for run in (killed, rest, again))
    yield f"{'peak memory':22} {peak_mb:,.0f} MB"


def _told(run: IndexRun) -> str:
    counts = run.counts or {}
    speed = f", {counts['headers_per_s']:,.0f} headers/s" if counts["headers_per_s"] else ""
    return f"{counts['n_read']:,} headers read in {run.seconds:.1f} s{speed}, {run.processor_s:.1f} s of processor time"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    print(f"{'commit':22} {commit.strip()}, {datetime.now(UTC):%Y-%m-%d}")
    with tempfile.TemporaryDirectory() as directory:
        for line in measure(Path(directory), arguments.files):
            print(line, flush=True)


if __name__ == "__main__":
    main()
