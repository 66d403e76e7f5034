"""`export png`: masks as pictures of class numbers, named by tokens and by nothing else."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagchd_batch.exports.destinations import MARKER
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.results.mask_codec import decode_mask
from tests.support.command_line import Ended, diagchd_batch
from tests.support.evaluated_runs import RUN_ID
from tests.support.scored_dicom import CLIP, ScoredDicom, example, scored_dicom


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ScoredDicom:
    png = io.BytesIO()
    Image.new("RGB", (64, 48)).save(png, "PNG")
    studies = {"Smith": {"clip.dcm": example(CLIP)}, "Jones": {"picture.png": png.getvalue()}}
    return scored_dicom(tmp_path_factory.mktemp("scored"), studies, frames=[3, 20])


def export(made: ScoredDicom, destination: Path, *options: str) -> Ended:
    return diagchd_batch("export", "png", made.output.uri, str(destination), *options)


def test_a_mask_has_the_size_of_its_frame_and_its_class_numbers(made: ScoredDicom, tmp_path: Path) -> None:
    ended = export(made, tmp_path / "masks")
    assert ended.exit_code == 0, ended.messages
    rows = made.scores()
    assert len(rows) == 3
    for row in rows:
        name = f"{RUN_ID}/{row['study_id']}/{row['image_id']}-{row['frame']:05d}.png"
        with Image.open(tmp_path / "masks" / name) as picture:
            labels = np.asarray(picture)
            assert (picture.mode, picture.info) == ("L", {})
        assert labels.shape == (row["source_height"], row["source_width"])
        assert np.array_equal(labels, resize_labels(decode_mask(row["mask_png"]), *labels.shape))
        assert set(np.unique(labels)) == {0, 1, 2}
    names = " ".join(map(str, (tmp_path / "masks").rglob("*"))) + (tmp_path / "masks" / MARKER).read_text()
    assert not any(word in names for word in ("Smith", "Jones", "clip", "picture"))


def test_a_second_export_writes_nothing_and_a_changed_file_is_kept(made: ScoredDicom, tmp_path: Path) -> None:
    export(made, tmp_path / "masks")
    ended = export(made, tmp_path / "masks")
    assert "0 written" in ended.printed and ended.exit_code == 0
    path = next((tmp_path / "masks").rglob("*.png"))
    path.write_bytes(b"mine")
    ended = export(made, tmp_path / "masks")
    assert ended.exit_code == 2 and "has changed" in ended.messages and path.read_bytes() == b"mine"


def test_studies_are_chosen_by_own_id_or_token(made: ScoredDicom, tmp_path: Path) -> None:
    for name in ("Jones", made.tokens.study("Jones")):
        ended = export(made, tmp_path / name, "--study", name)
        assert ended.exit_code == 0, ended.messages
        assert [path.parent.name for path in (tmp_path / name).rglob("*.png")] == [made.tokens.study("Jones")]


def test_the_output_and_other_people_s_files_are_left_alone(made: ScoredDicom, tmp_path: Path) -> None:
    assert export(made, Path(made.output.uri) / "masks").exit_code == 2
    (tmp_path / "notes.txt").write_text("mine")
    assert export(made, tmp_path).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
