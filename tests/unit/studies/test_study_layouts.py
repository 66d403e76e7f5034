import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.studies.plan.make_plan import PlanPreview, preview_plan
from diagchd_batch.studies.plan.stored_plan import PlanHead
from tests.unit.studies.archives import PSEUDONYMIZER, Archive, SimulatedListing

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6)
file_names = st.builds(lambda stem, extension: stem + extension, names, st.sampled_from([*EXTENSIONS, ".PNG", ".txt"]))
keys = st.builds(lambda parts, file: "/".join([*parts, file]), st.lists(names, min_size=1, max_size=3), file_names)


def studies_of(preview: PlanPreview) -> dict[str, int]:
    return {row["source_study_id"]: row["n_images"] for row in preview.studies.to_pylist()}


def is_planned(key: str) -> bool:
    hidden = any(part.startswith(".") for part in key.split("/"))
    return key.lower().endswith(EXTENSIONS) and not hidden


@settings(max_examples=12, deadline=None)
@given(st.sets(keys, min_size=1, max_size=20))
def test_tree_plans_each_image_under_its_directory(all_keys: set[str]) -> None:
    all_keys.add("study/image.png")
    config = InputConfig(uri="simulated", layout="tree")
    preview = preview_plan(config, ShardsConfig(), SimulatedListing(sorted(all_keys)), PSEUDONYMIZER)  # type: ignore[arg-type]
    expected: dict[str, int] = {}
    for key in filter(is_planned, all_keys):
        expected[posixpath.dirname(key)] = expected.get(posixpath.dirname(key), 0) + 1
    assert studies_of(preview) == expected
    assert preview.head.n_unlisted == preview.head.n_missing == 0


def test_tree_on_disk(archive: Archive) -> None:
    archive.add_files("one/a.png", "one/B.JPEG", "one/notes.txt", "one/.a.png", "one/deeper/c.tif", ".trash/d.png")
    archive.add_files("dir.png/e.bmp")
    assert studies_of(archive.preview()) == {"one": 2, "one/deeper": 1, "dir.png": 1}


def test_tree_refuses_images_that_belong_to_no_study(archive: Archive) -> None:
    archive.add_files("a.png", "b.png", "one/c.png")
    with pytest.raises(InputError, match=r"2 image files directly in input\.uri"):
        archive.preview()


@pytest.mark.parametrize("layout", ["tree", "diagchd"])
def test_an_empty_archive_is_refused(archive: Archive, layout: str) -> None:
    archive.add_files("one/notes.txt")
    with pytest.raises(InputError, match="no image file"):
        archive.preview(layout=layout)


def test_diagchd_takes_labels_from_folders_and_finds_masks(archive: Archive) -> None:
    archive.add_files("IMAGE/0/a.png", "IMAGE/1/b.c.jpg", "IMAGE/1/d.png", "MASK/0/a.png", "MASK/1/b.c.png")
    archive.add_files("MASK/0/d.png", "MASK/1/e.png", "README.txt")
    preview = archive.preview(layout="diagchd")
    labels = {row["source_study_id"]: row["label"] for row in preview.studies.to_pylist()}
    assert labels == {"a": 0, "b.c": 1, "d": 1}
    assert preview.head.n_masks == 2
    assert preview.head.n_missing_masks == 0
    assert preview.head.n_unlisted == 2  # masks that belong to no image
    assert not preview.head.subjects_given


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["IMAGE/0/a.png", "IMAGE/1/a.jpg"], "both label 0 and label 1"),
        (["IMAGE/0/a.png", "IMAGE/2/b.png"], "1 image file below IMAGE/"),
        (["IMAGE/0/a.png", "IMAGE/0/deeper/b.png", "IMAGE/c.png"], "2 image files below IMAGE/"),
    ],
)
def test_diagchd_refuses_contradicting_and_unknown_labels(archive: Archive, keys: list[str], expected: str) -> None:
    archive.add_files(*keys)
    with pytest.raises(InputError, match=expected):
        archive.preview(layout="diagchd")


def test_a_plan_says_how_many_links_were_not_followed(archive: Archive) -> None:
    archive.add_files("a/1.png", "b/2.png")
    (archive.root / "a" / "see-also").symlink_to("../b")
    (archive.root / "b" / "see-also").symlink_to("../a")
    head = archive.preview().head
    assert (head.n_images, head.n_studies, head.not_listed) == (2, 2, {"links_not_followed": 2})
    assert PlanHead.from_json(head.model_dump_json().encode(), "head").not_listed == {"links_not_followed": 2}


@pytest.mark.parametrize("manifest", [None, "study_id,uri\na,a/1.png\nb,b/2.png\n"], ids=["tree", "manifest"])
def test_a_plan_counts_files_that_are_no_images_by_their_kinds(archive: Archive, manifest: str | None) -> None:
    archive.add_files("a/1.png", "a/loop.AVI", "a/other.avi", "b/2.png", "b/letter.pdf", "b/.hidden.pdf", "b/Jane Doe")
    archive.add_files("b/scan.of Jane")
    assert archive.preview(manifest).head.skipped_files == {"": 2, "avi": 2, "pdf": 1}
