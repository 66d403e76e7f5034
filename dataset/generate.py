"""Writes a simulated cohort: ``python -m dataset.generate --studies 1000 --seed 7 --out DIR``.

``--sample`` writes the committed sample again, with its seed, its size and its special cases.
"""

import argparse
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from dataset.phantom.cohort.seeds import Split
from dataset.phantom.cohort.special_cases import SpecialCases, choose_special_cases, special_image
from dataset.phantom.cohort.studies import PREVALENCE, Study, draw_cohort
from dataset.phantom.cohort.tables import damaged_file, image_name, write_tables
from dataset.phantom.generation import generate_study_image

SAMPLE_SEED, SAMPLE_STUDIES = 2055, 64
JPEG_QUALITY = 88
DIGESTS = "SHA256SUMS"
NOTICE = """# SIMULATED

Every image, mask, diagnosis, reader and covariate in this directory is simulated; no person is behind any of it.
It has no clinical meaning. What the files hold: `dataset/README.md` of the project that wrote them.
"""


def write_images(study: Study, directory: Path, special: SpecialCases) -> None:
    """Write all images of a study as its device exports them, and their masks."""
    for image in range(study.images):
        name = image_name(study, image)
        pixels = special_image(study, image, special)
        if pixels is None:
            phantom = generate_study_image(study, image)
            pixels = phantom.pixels
            Image.fromarray(phantom.mask_hw_u8).save(directory / "masks" / f"{name}.png", optimize=True)
        target = directory / "images" / f"{name}.{study.device.suffix}"
        if study.device.suffix == "jpg":
            Image.fromarray(pixels).save(target, quality=JPEG_QUALITY)
        else:
            Image.fromarray(pixels).save(target, optimize=True)
    if special.damaged == study.index:
        damaged = directory / damaged_file(study)
        damaged.parent.mkdir(exist_ok=True)
        whole = target.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2])


def cohort_files(directory: Path) -> list[Path]:
    """Return all files of a cohort except its digests and its README, sorted by name."""
    names = ("damaged/*", "images/*", "masks/*", "*.csv")
    return sorted(path for pattern in names for path in directory.glob(pattern))


def write_digests(directory: Path) -> None:
    """Write ``SHA256SUMS`` in the format that ``sha256sum -c`` reads."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory).as_posix()}\n"
        for path in cohort_files(directory)
    ]
    (directory / DIGESTS).write_text("".join(lines), encoding="utf-8")


def write_cohort(directory: Path, studies: list[Study], special: SpecialCases, processes: int = 1) -> None:
    """Write images, masks, tables and digests of a cohort.

    Args:
        directory: Where to write. It is created if it does not exist.
        studies: The studies of the cohort.
        special: The special cases among them.
        processes: Number of processes that write images. The files do not depend on it.
    """
    for name in ("images", "masks"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    work = partial(write_images, directory=directory, special=special)
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            for _ in pool.map(work, studies, chunksize=8):
                pass
    else:
        for study in studies:
            work(study)
    write_tables(directory, studies, special)
    (directory / "README.md").write_text(NOTICE, encoding="utf-8")
    write_digests(directory)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(prog="python -m dataset.generate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write; must be absent or empty")
    parser.add_argument("--sample", action="store_true", help="write the committed sample again")
    parser.add_argument("--studies", type=int, default=64, help="number of studies (default 64)")
    parser.add_argument("--seed", type=int, default=1, help="0 to 2**32 - 1 (default 1)")
    splits = [split.name.lower() for split in Split]
    parser.add_argument(
        "--split", choices=splits, default="other", help="the cohort's purpose; splits share no subjects"
    )
    parser.add_argument("--prevalence", type=float, default=PREVALENCE, help="share of diseased fetuses (default 1/3)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: all cores")
    chosen = parser.parse_args(arguments)
    if chosen.studies < 1 or not 0 <= chosen.seed < 2**32 or not 0 <= chosen.prevalence <= 1 or chosen.processes < 1:
        parser.error("--studies and --processes start at 1, --seed lies in [0, 2**32), --prevalence in [0, 1]")
    if chosen.out.exists() and any(chosen.out.iterdir()):
        parser.error(f"{chosen.out} is not empty; name a new directory, or empty it first")
    return chosen


def sample_studies() -> list[Study]:
    """Return the studies of the committed sample."""
    return list(draw_cohort(SAMPLE_SEED, Split.SAMPLE, SAMPLE_STUDIES))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    chosen = parse(arguments)
    if chosen.sample:
        studies, special = sample_studies(), choose_special_cases(sample_studies())
    else:
        split = Split[chosen.split.upper()]
        studies, special = list(draw_cohort(chosen.seed, split, chosen.studies, chosen.prevalence)), SpecialCases()
    write_cohort(chosen.out, studies, special, chosen.processes)
    print(f"{len(studies)} simulated studies, {sum(study.images for study in studies)} images in {chosen.out}")


if __name__ == "__main__":
    main()
