"""Writes the phantoms that the bundled weights are trained on, as an archive for ``diagchd-batch train``.

    python -m dataset.training_archive --out out/bundled-weights/archive

It has one image of each study, rendered at the network's grid, so that the resize to that grid changes nothing. The
column ``split`` of the manifest says which studies are trained on and which choose the best epoch.
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from dataset.generate import NOTICE
from dataset.phantom import Split, draw_study, generate_study_image
from dataset.phantom.cohort.tables import Row, write_table

SEED = 1
STUDIES = {Split.TRAINING: 6000, Split.VALIDATION: 500}
GRID = (128, 160)


def write_archive(directory: Path, studies: dict[Split, int], grid: tuple[int, int], processes: int = 1) -> None:
    """Write images, masks and the manifest ``studies.csv``.

    Args:
        directory: Where to write. It is created if it does not exist.
        studies: Number of studies of each split.
        grid: Height and width of the images.
        processes: Number of processes that render images. The files do not depend on it.
    """
    for name in ("images", "masks"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    chosen = [(split, index) for split, n in studies.items() for index in range(n)]
    work = partial(_write_study, directory, grid)
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(work, chosen, chunksize=16))
    else:
        rows = [work(study) for study in chosen]
    write_table(directory / "studies.csv", rows)
    (directory / "README.md").write_text(NOTICE, encoding="utf-8")


def _write_study(directory: Path, grid: tuple[int, int], chosen: tuple[Split, int]) -> Row:
    """Write the first image of a study and its mask, and return the row of the manifest."""
    split, index = chosen
    study = draw_study(SEED, split, index)
    name = split.name.lower()
    image, mask = (f"{kind}/{name}-{study.study_id}.png" for kind in ("images", "masks"))
    phantom = generate_study_image(study, 0, grid)
    Image.fromarray(phantom.image_hwc_u8).save(directory / image)
    Image.fromarray(phantom.mask_hw_u8).save(directory / mask)
    return {
        "study_id": f"{name}-{study.study_id}",
        "uri": image,
        "subject_id": f"{name}-{study.subject_id}",
        "mask_uri": mask,
        "label": study.disease.label,
        "split": name,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m dataset.training_archive", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="directory to write; must be absent or empty")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: all cores")
    chosen = parser.parse_args(arguments)
    if chosen.out.exists() and any(chosen.out.iterdir()):
        parser.error(f"{chosen.out} is not empty; name a new directory, or empty it first")
    write_archive(chosen.out, STUDIES, GRID, chosen.processes)
    print(f"{sum(STUDIES.values())} simulated images in {chosen.out}")


if __name__ == "__main__":
    main()
