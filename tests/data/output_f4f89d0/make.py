"""Make `archive/` and `output/` of this directory with the program as it was at commit f4f89d0.

Usage: python make.py CLONE, where CLONE is a checkout of commit f4f89d0. README.md has the whole command.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
PLACE = Path("/var/tmp/diagchd-batch-output-f4f89d0")
"""The archive's absolute path is part of a run's identity, so a test that continues a run puts the archive here."""

MODIFIED_S = 1_700_000_000
"""The modification time of every file of the archive. It is part of a plan, and Git does not keep it."""

SIZE = (200, 150)
FIRST = ("study-00001", "study-00002", "study-00003", "study-00005", "study-00007", "study-00012", "study-00014")
ADDED = ("study-00017", "study-00018")
DAMAGED = "images/study-00005-2.png"


def main(clone: Path) -> None:
    """Make the archive, run the old program's commands on it and copy what they wrote."""
    shutil.rmtree(PLACE, ignore_errors=True)
    archive = PLACE / "archive"
    make_archive(clone / "dataset" / "sample", archive)
    shutil.copy(HERE / "job.yaml", PLACE)
    job = ["submit", "job.yaml"]
    run(clone, *job, "--run-id", "first", expect=3)
    run(clone, *job, "--only", "new", "--run-id", "second", "--set", "input.manifest=archive/studies-2.csv", expect=0)
    other = ["--run-id", "other", "--set", "model.precision=bfloat16", "--set", "input.manifest=archive/studies-2.csv"]
    run(clone, *job, *other, expect=3)
    run(clone, "compare", "output", "other", "second", expect=0)
    for name in ("archive", "output"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(PLACE / name, HERE / name)
    shutil.rmtree(PLACE)


def make_archive(sample: Path, archive: Path) -> None:
    """Copy a few studies of the sample as small images, and damage one image.

    The second manifest corrects the first: it withdraws a label, excludes a study and adds two studies.
    """
    rows = [row for row in read(sample / "studies.csv") if row["study_id"] in FIRST + ADDED]
    for row in rows:
        for place, filter_ in ((row["uri"], Image.Resampling.BILINEAR), (row["mask_uri"], Image.Resampling.NEAREST)):
            if place:
                (archive / place).parent.mkdir(parents=True, exist_ok=True)
                with Image.open(sample / place) as picture:
                    picture.convert("L").resize(SIZE, filter_).save(archive / place)
    (archive / DAMAGED).write_bytes((archive / DAMAGED).read_bytes()[:3000])
    write(archive / "studies-1.csv", [row for row in rows if row["study_id"] in FIRST])
    corrected = {
        "study-00002": {"label": ""},
        "study-00003": {"include": "0", "exclude_reason": "consent withdrawn"},
    }
    write(archive / "studies-2.csv", [row | corrected.get(row["study_id"], {}) for row in rows])
    for name in ("reference.csv", "readers.csv", "covariates.csv"):
        found = [row for row in read(sample / name) if row["study_id"] in FIRST + ADDED]
        if name == "reference.csv":  # Only the manifests have labels of study-00002.
            found = [row for row in found if row["study_id"] != "study-00002"]
        if name == "readers.csv":
            found = [row for row in found if row["reader"] in ("reader-01", "reader-02", "reader-03")]
        write(archive / name, found)
    for path in archive.rglob("*"):
        os.utime(path, (MODIFIED_S, MODIFIED_S))


def read(path: Path) -> list[dict[str, str]]:
    """Read a table as dictionaries."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def run(clone: Path, *arguments: str, expect: int) -> None:
    """Run a command of the old program, which must end with the exit code `expect`."""
    environ = os.environ | {"PYTHONPATH": str(clone), "DIAGCHD_ID_KEY": "output-f4f89d0-key-for-tests-only"}
    ended = subprocess.run([sys.executable, "-m", "diagchd_batch", *arguments], cwd=PLACE, env=environ)
    assert ended.returncode == expect, f"{arguments}: exit {ended.returncode}"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
