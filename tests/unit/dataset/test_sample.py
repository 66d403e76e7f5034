import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.generate import DIGESTS, cohort_files, sample_studies
from dataset.phantom import generate_study_image
from dataset.phantom.cohort.readers import READERS, truth_table
from dataset.phantom.cohort.special_cases import choose_special_cases, special_image
from dataset.phantom.cohort.studies import Study
from dataset.phantom.cohort.tables import image_name, write_tables

DATASET = Path(__file__).parents[3] / "dataset"
SAMPLE = DATASET / "sample"


def _rows(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return sample_studies()


def test_sample_equals_its_digests_and_holds_nothing_else() -> None:
    expected = dict(reversed(line.split("  ")) for line in (SAMPLE / DIGESTS).read_text("utf-8").splitlines())  # type: ignore[arg-type, var-annotated]
    found = {
        path.relative_to(SAMPLE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in cohort_files(SAMPLE)
    }
    assert found == expected
    everything = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file()}
    assert everything - set(expected) == {DIGESTS, "README.md"}


def test_tables_are_generated_again_byte_for_byte(tmp_path: Path, studies: list[Study]) -> None:
    write_tables(tmp_path, studies, choose_special_cases(studies))
    for name in ("studies.csv", "reference.csv", "readers.csv", "covariates.csv"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name


def test_images_and_masks_are_generated_again_pixel_for_pixel(studies: list[Study]) -> None:
    special, suffixes = choose_special_cases(studies), set()
    for study in [*studies[:10], studies[31], studies[63]]:
        for image in range(study.images):
            name = image_name(study, image)
            stored = np.asarray(Image.open(SAMPLE / "images" / f"{name}.{study.device.suffix}"))
            pixels = special_image(study, image, special)
            if pixels is None:
                phantom = generate_study_image(study, image)
                pixels = phantom.pixels
                np.testing.assert_array_equal(
                    np.asarray(Image.open(SAMPLE / "masks" / f"{name}.png")), phantom.mask_hw_u8
                )
            suffixes.add(study.device.suffix)
            if study.device.suffix == "png":
                np.testing.assert_array_equal(stored, pixels)
            else:  # The compression is lossy, but its error is small compared with the speckle.
                assert stored.shape == pixels.shape
                assert np.abs(stored.astype(int) - pixels).mean() < 4
    assert suffixes == {"png", "jpg"}


def test_size_and_shares(studies: list[Study]) -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 15e6
    assert len(studies) >= 60 and len({study.subject for study in studies}) >= 50
    assert {study.images for study in studies} == {1, 2, 3}
    assert 0.28 < np.mean([study.disease.label for study in studies]) < 0.40
    assert len({(study.device.height, study.device.width) for study in studies}) >= 5


def test_files_carry_no_text() -> None:
    for path in (SAMPLE / "images").iterdir():
        with Image.open(path) as image:
            assert not getattr(image, "text", {}) and not image.getexif()


def test_manifest_and_reference_agree_and_point_at_files() -> None:
    manifest, reference = _rows("studies.csv"), {row["study_id"]: row for row in _rows("reference.csv")}
    assert {row["study_id"] for row in manifest} == set(reference)
    for row in manifest:
        assert row["label"] == reference[row["study_id"]]["label"]
        if row["uri"].startswith("damaged/"):
            continue
        with Image.open(SAMPLE / row["uri"]) as image:
            if row["mask_uri"]:
                with Image.open(SAMPLE / row["mask_uri"]) as mask:
                    assert mask.size == image.size and mask.mode == "L"
                    assert set(np.unique(mask)) <= {0, 1, 2}  # type: ignore[call-overload]
    stored = {
        path.relative_to(SAMPLE).as_posix()
        for name in ("damaged", "images", "masks")
        for path in (SAMPLE / name).iterdir()
    }
    assert stored == {row[column] for row in manifest for column in ("uri", "mask_uri")} - {""}


def test_awkward_cases_are_there(studies: list[Study]) -> None:
    manifest, reads = _rows("studies.csv"), _rows("readers.csv")
    by_subject = defaultdict(set)
    for row in manifest:
        by_subject[row["subject_id"]].add((row["study_id"], row["fetus"]))
    fetuses = [sorted(fetus for _, fetus in seen) for seen in by_subject.values()]
    assert ["1", "2"] in fetuses and ["1", "1"] in fetuses
    assert sum(not row["mask_uri"] for row in manifest) == 3  # the damaged file, the unreadable image, the wrong view
    assert {row["exclude_reason"] for row in manifest if row["include"] == "0"} == {"consent withdrawn"}
    assert sum(not row["label"] for row in _rows("reference.csv")) == 1
    assert Counter(row["status"] for row in reads)["indeterminate"] >= 1
    assert Counter(row["status"] for row in reads)["not_read"] >= 10
    assert all(row["call"] != "1" for row in reads if row["reader"] == "reader-06")

    votes = defaultdict(list)
    for row in reads:
        if row["session"] == "1" and row["call"]:
            votes[row["study_id"]].append(int(row["call"]))
    usable = {row["study_id"] for row in manifest if row["label"] and row["include"] == "1"}
    assert any(2 * sum(calls) == len(calls) for study, calls in votes.items() if study in usable)


def test_the_damaged_file_is_half_of_a_good_one_and_cannot_be_decoded(studies: list[Study]) -> None:
    (row,) = (row for row in _rows("studies.csv") if row["uri"].startswith("damaged/"))
    of_study = [other["uri"] for other in _rows("studies.csv") if other["study_id"] == row["study_id"]]
    whole, half = (SAMPLE / of_study[-2]).read_bytes(), (SAMPLE / row["uri"]).read_bytes()
    assert half == whole[: len(whole) // 2]
    with pytest.raises(OSError), Image.open(SAMPLE / row["uri"]) as image:
        image.load()
    assert row["include"] == "1"


def test_reads_are_one_per_reader_session_and_study() -> None:
    reads = _rows("readers.csv")
    assert len({row["reader"] for row in reads}) == len(READERS) >= 6
    assert max(Counter((row["study_id"], row["reader"], row["session"]) for row in reads).values()) == 1
    assert {(row["session"], row["arm"]) for row in reads} == {("1", "unaided"), ("2", "unaided"), ("3", "aided")}
    for row in reads:
        assert bool(row["call"]) == bool(row["score"]) == (row["status"] == "read")


def test_unreadable_image_shows_next_to_nothing(studies: list[Study]) -> None:
    special = choose_special_cases(studies)
    unreadable, wrong_view = (studies[index] for index, _ in (special.unreadable, special.wrong_view))
    contrast = [np.std(special_image(study, 1, special)) for study in (unreadable, wrong_view)]
    assert contrast[0] < 0.5 * contrast[1]


def test_readme_states_the_true_values_and_that_all_is_simulated() -> None:
    readme = (DATASET / "README.md").read_text("utf-8")
    assert truth_table() in readme
    assert "**SIMULATED" in readme and "SIMULATED" in (SAMPLE / "README.md").read_text("utf-8")
