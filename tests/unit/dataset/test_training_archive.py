"""The archive that the bundled weights are trained on."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.phantom import Split, generate_image
from dataset.training_archive import GRID, STUDIES, main, write_archive
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.loading import load_job
from diagchd_batch.model import load_card


def test_the_archive_holds_the_first_image_of_each_study_with_its_split(tmp_path: Path) -> None:
    write_archive(tmp_path, {Split.TRAINING: 1, Split.VALIDATION: 1}, (32, 40))
    with (tmp_path / "studies.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["training", "validation"]
    assert len({row["study_id"] for row in rows}) == len({row["subject_id"] for row in rows}) == 2
    phantom = generate_image(1, Split.VALIDATION, 0, 0, (32, 40))
    assert (np.asarray(Image.open(tmp_path / rows[1]["uri"])) == phantom.image_hwc_u8).all()
    assert (np.asarray(Image.open(tmp_path / rows[1]["mask_uri"])) == phantom.mask_hw_u8).all()
    assert int(rows[1]["label"]) == phantom.label
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])


def test_the_committed_job_trains_the_bundled_network_on_it() -> None:
    job = load_job(bundled_path("configs/bundled-weights.yaml"))
    assert job.training is not None
    assert job.training.model_name == job.model.name == "diagchd-compact"
    assert job.training.initial_weights == "scratch"
    assert (job.training.folds.rule, job.training.folds.column) == ("column", "split")
    architecture = load_card(job.model.name).architecture
    assert (architecture.height, architecture.width) == GRID
    assert STUDIES.keys() == {Split.TRAINING, Split.VALIDATION}
