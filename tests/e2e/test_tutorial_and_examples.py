"""Runs every command of docs/tutorial.md, and every script of examples/ on the tutorial's output."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.checkers.tutorial import steps
from tests.support.scoring_runs import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = PROJECT / "examples"


def _environment(directory: Path) -> dict[str, str]:
    """Return an environment in which `diagchd-batch` is this checkout's command."""
    command = directory / "bin" / "diagchd-batch"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m diagchd_batch "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT), "COLUMNS": "250"}


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole tutorial and return its directory."""
    directory = tmp_path_factory.mktemp("tutorial")
    environment = _environment(directory)
    for step in steps(PROJECT / "docs" / "tutorial.md"):
        step.run(directory, environment)
    return directory


def _example(name: str, *arguments: object, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tutorial_runs_and_prints_what_it_says(tutorial: Path) -> None:
    assert (tutorial / "results" / "runs").is_dir()


def test_the_tutorial_scores_the_repaired_file_again_and_finds_its_digest(tutorial: Path) -> None:
    page = steps(PROJECT / "docs" / "tutorial.md")
    (digests,) = [step.commands for step in page if "sha256sum" in step.commands]
    printed = subprocess.run(
        ["bash", "-c", digests],
        cwd=tutorial,
        env={**os.environ, "PATH": f"{tutorial / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    first, second = re.findall(r"\b[0-9a-f]{64}\b", printed)
    assert first == second


def test_every_example_is_tested_and_listed_in_the_readme() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    listed = set(re.findall(r"\[(\w+)\.py\]\(\1\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    tested = set(re.findall(r'_example\(\s*"(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert scripts == listed == tested
    assert len(scripts) >= 6


def test_score_folder(tutorial: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for study in ("study-00001", "study-00002"):
        (folder / study).mkdir(parents=True)
        for image in (tutorial / "archive" / study).iterdir():
            (folder / study / image.name).write_bytes(image.read_bytes())
    n_images = len(list(folder.rglob("*.png")))
    printed = _example("score_folder", folder, tmp_path / "scored", directory=tmp_path)
    assert f"{n_images} frames of {n_images} images" in printed
    assert list((tmp_path / "scored" / "scores").rglob("shard-*.parquet"))


def test_read_predictions(tutorial: Path) -> None:
    printed = _example("read_predictions", "results", directory=tutorial)
    assert "of 29 studies" in printed
    assert len(re.findall(r"^s-[0-9a-f]{16} ", printed, re.MULTILINE)) == 5
    assert re.search(r"decode_error +1\n", printed)


def test_query_with_sql(tutorial: Path) -> None:
    printed = _example("query_with_sql", "results", directory=tutorial)
    assert re.search(r"s-[0-9a-f]{16} +0\.\d+ +(positive|negative)", printed)
    assert "mean_probability" in printed


def test_overlay_mask(tutorial: Path, tmp_path: Path) -> None:
    image = "study-00001/study-00001-1.png"
    _example("overlay_mask", "results", "archive", image, tmp_path / "overlay.png", directory=tutorial)
    drawn = np.asarray(Image.open(tmp_path / "overlay.png").convert("RGB")).astype(int)
    original = np.asarray(Image.open(tutorial / "archive" / image).convert("RGB")).astype(int)
    changed = (drawn != original).any(axis=2)
    assert drawn.shape == original.shape
    assert 0.02 < changed.mean() < 0.5


def test_agreement_of_readers(tutorial: Path) -> None:
    printed = _example("agreement_of_readers", "demo/cohort/readers.csv", directory=tutorial)
    for name in ("Fleiss' kappa", "Gwet's AC1", "Krippendorff's alpha"):
        assert re.search(rf"^{name} +0\.\d+ +\(0\.\d+ to 0\.\d+\), n = 64$", printed, re.MULTILINE)
    assert printed.count("no interval: zero_variance") == 5  # One reader never makes a positive call.


def test_predict_without_ray_gives_the_probability_of_the_run(tutorial: Path) -> None:
    images = sorted((tutorial / "archive").glob("study-0000[1-5]/*.png"))  # more images than one batch has
    printed = _example("predict_without_ray", *images, directory=tutorial)
    assert len(printed.splitlines()) == len(images) > 8
    table = _example("read_predictions", "results", directory=tutorial)
    highest = max(float(value) for value in re.findall(r"CHD (0\.\d+)", printed))
    assert f"{highest:.3f}" in table or highest < float(re.findall(r"0\.\d{3}", table)[0])


def test_choose_operating_point(tutorial: Path) -> None:
    printed = _example("choose_operating_point", "results", "--sensitivity", 0.8, directory=tutorial)
    threshold = re.search(r"^threshold (0\.\d{4})", printed)
    assert threshold
    assert f"threshold: {threshold[1]}, chosen_on:" in printed
    assert re.search(r"^specificity +\d\.\d{3} \(0\.\d{3} to \d\.\d{3}", printed, re.MULTILINE)


def test_compare_two_scores(tutorial: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 80)
    score_a, score_b = 0.3 * truth + 0.7 * random.random(80), random.random(80)
    rows = "\n".join(f"{t},{a:.6f},{b:.6f}" for t, a, b in zip(truth, score_a, score_b, strict=True))
    (tmp_path / "scores.csv").write_text(f"truth,score_a,score_b\n{rows}\n")
    printed = _example("compare_two_scores", tmp_path / "scores.csv", directory=tmp_path)
    assert re.search(r"^AUC +\+0\.\d+ \(\+0\.\d+ to \+0\.\d+\), p = 0\.\d+$", printed, re.MULTILINE)
