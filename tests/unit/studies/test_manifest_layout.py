from typing import Any

import pytest

from diagchd_batch.errors import InputError
from diagchd_batch.studies.plan.make_plan import PlanPreview
from tests.unit.studies.archives import Archive


def studies(preview: PlanPreview) -> dict[str, dict[str, Any]]:
    return {row["source_study_id"]: row for row in preview.studies.to_pylist()}


def test_a_full_manifest(archive: Archive) -> None:
    archive.add_files(
        "a/1.png", "a/2.png", "b.png", "c.png", "masks/a1.png", "unlisted.png", "unlisted.txt", data=b"12"
    )
    preview = archive.preview(
        "study_id,uri,frame,subject_id,fetus,mask_uri,label,include,exclude_reason\n"
        "001,a/1.png,,P1,A,masks/a1.png,1,,\n"
        "001,a/2.png,,,,masks/gone.png,,yes,\n"
        "1,./b.png,3,P1,B,,0,1,\n"
        "1,./b.png,1,P1,B,,0,1,\n"
        "2,c.png,,,,,,no,wrong view\n"
        "2,d.png,,,,,,0,\n"
        "3,gone.png,,P3,,,,,\n"
        "3,e.png,,P3,,,,,no consent\n"
    )
    head = preview.head
    assert (head.n_studies, head.n_subjects, head.n_images, head.size_bytes) == (3, 2, 4, 6)
    assert (head.n_masks, head.n_missing, head.n_missing_masks, head.n_unlisted) == (2, 1, 1, 1)
    assert (head.n_excluded, head.n_excluded_studies, head.subjects_given) == (3, 1, True)
    rows = studies(preview)
    assert [rows[name]["label"] for name in ("001", "1", "2", "3")] == [1, 0, None, None]
    assert [rows[name]["fetus"] for name in ("001", "1", "2")] == ["A", "B", None]
    assert rows["001"]["subject_id"] == rows["1"]["subject_id"] != rows["3"]["subject_id"]
    assert rows["2"]["exclude_reasons"] == ["wrong view", "not stated"]
    assert rows["2"]["n_images"] == 0
    assert rows["3"]["exclude_reasons"] == ["no consent"]


def test_a_manifest_may_name_files_by_links_that_the_listing_does_not_follow(archive: Archive) -> None:
    archive.add_files("real/1.png", "real/mask.png", "real/2.png", data=b"12")
    (archive.root / "link").symlink_to("real")
    rows = "study_id,uri,mask_uri\na,link/1.png,link/mask.png\nb,real/2.png,link/gone.png\nb,link/gone.png,\n"
    head = archive.preview(rows).head
    assert (head.n_images, head.size_bytes, head.n_missing, head.n_missing_masks) == (3, 4, 1, 1)
    assert head.not_listed == {"links_not_followed": 1}


def test_a_path_of_more_than_4096_bytes_is_one_missing_file(archive: Archive) -> None:
    archive.add_files("a/1.png")
    (archive.root / "link").symlink_to("a")
    long = "/".join(["x" * 200] * 30)
    head = archive.preview(f"study_id,uri\na,a/1.png\na,{long}.png\n").head
    assert (head.n_images, head.n_missing) == (2, 1)


def test_without_subjects_each_study_is_one_and_that_is_said(archive: Archive) -> None:
    preview = archive.preview("study_id,uri,subject_id\na,1.png,\nb,2.png,a\nc,3.png,a\n")
    rows = studies(preview)
    assert rows["b"]["subject_id"] == rows["c"]["subject_id"] != rows["a"]["subject_id"]
    assert preview.head.n_studies_without_subject == 1
    assert not preview.head.subjects_given


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,x.png,,,,\nb,y.png,,,,\na,./x.png,,,,\n", "lines 2 and 4 name the same file and frame"),
        ("a,x.png,1,,,\na,x.png,1.0,,,\n", "lines 2 and 3 name the same file and frame"),
        ("a,x.png,1,,,\na,x.png,,,,\n", "lines 2 and 3 name one file with and without a frame"),
        ("a,x.png,1,,,\nb,x.png,2,,,\n", "lines 2 and 3 give one file to two studies"),
        ("a,x.png,1,,m.png,\na,x.png,2,,,\n", "lines 2 and 3 give one file two masks"),
        ("a,x.png,,,,\na,y.png,,,,0\na,z.png,,,,0\na,w.png,,,,1\n", "both label 0 and label 1"),
        ("a,x.png,,P,,\na,y.png,,Q,,\n", "lines 2 and 3 give one study two subjects"),
        (",x.png,,,,\n", "line 2: study_id is empty"),
        ("a,/x.png,,,,\n", "line 2: uri is not relative"),
        ("a,b/../../x.png,,,,\n", r"line 2: uri has a part '\.\.'"),
        ("a,s3://bucket/x.png,,,,\n", "line 2: uri is not relative"),
        ("a,x.png,,,../m.png,\n", r"line 2: mask_uri has a part '\.\.'"),
        ("a,x.png,first,,,\n", "line 2: frame is not a frame number"),
        ("a,x.png,,,,2\n", "line 2: label is not 0, 1 or empty"),
        ("", "no rows"),
    ],
)
def test_contradictions_are_refused_naming_lines_but_no_id(archive: Archive, rows: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as refused:
        archive.preview("study_id,uri,frame,subject_id,mask_uri,label\n" + rows)
    assert ".png" not in str(refused.value)


def test_label_contradiction_names_two_lines_that_differ(archive: Archive) -> None:
    with pytest.raises(InputError, match="lines 3 and 5 "):
        archive.preview("study_id,uri,label\na,x.png,\na,y.png,0\na,z.png,0\na,w.png,1\n")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,x.png,no,\nb,y.png,,blurred\n", "excludes every row"),
        ("a,x.png,yes,blurred\n", "line 2: include says yes, but exclude_reason"),
        ("a,x.png,perhaps,\n", "line 2: include is not 1, 0"),
    ],
)
def test_exclusions_that_make_no_sense(archive: Archive, rows: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        archive.preview("study_id,uri,include,exclude_reason\n" + rows)


@pytest.mark.parametrize("header", ["study_id,file\n", "uri\n"])
def test_a_missing_column(archive: Archive, header: str) -> None:
    with pytest.raises(InputError, match=r"no column (uri|study_id)"):
        archive.preview(header)
