from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.generate import DIGESTS, cohort_files, main


def _pixels(directory: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in (directory / "images").iterdir()}


def test_neither_processes_nor_number_of_studies_change_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--studies", "3", "--seed", "11", "--out", str(tmp_path / "a"), "--processes", "1"])
    main(["--studies", "5", "--seed", "11", "--out", str(tmp_path / "b"), "--processes", "2"])
    first, second = _pixels(tmp_path / "a"), _pixels(tmp_path / "b")
    assert set(first) < set(second)
    for name, pixels in first.items():
        np.testing.assert_array_equal(pixels, second[name])
    assert "3 simulated studies" in capsys.readouterr().out
    listed = [line.split("  ")[1] for line in (tmp_path / "a" / DIGESTS).read_text().splitlines()]
    assert listed == [path.relative_to(tmp_path / "a").as_posix() for path in cohort_files(tmp_path / "a")]


@pytest.mark.parametrize("wrong", [["--studies", "0"], ["--seed", "-1"], ["--prevalence", "2"]])
def test_wrong_choices_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*wrong, "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_a_directory_with_files_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path)])
    assert "not empty" in capsys.readouterr().err
