"""What `plan` prints of files that are not there."""

import pytest

from diagchd_batch.cli.plan import details_pairs, duplicate_pairs, missing_pairs, not_listed_pairs, skipped_pairs
from diagchd_batch.runs.details_of_plan import PlanDetails
from tests.unit.cli.test_dicom_object_counts import head

IMAGES = "1 planned image not there; each will be a failed row"
MASKS = "2 planned masks not there; their images are scored, but not compared with a mask"


@pytest.mark.parametrize(
    ("n_missing", "n_missing_masks", "expected"),
    [
        (0, 0, []),
        (1, 0, [("missing", IMAGES)]),
        (0, 2, [("missing masks", MASKS)]),
        (1, 2, [("missing", IMAGES), ("missing masks", MASKS)]),
    ],
)
def test_missing_images_and_masks_are_said_each_by_itself(
    n_missing: int, n_missing_masks: int, expected: list[tuple[str, str]]
) -> None:
    assert missing_pairs(head(n_missing=n_missing, n_missing_masks=n_missing_masks)) == expected


def test_what_the_listing_left_out_is_counted_and_not_named() -> None:
    assert not_listed_pairs(head()) == []
    left_out = {"links_not_followed": 110, "paths_too_long": 1, "names_not_utf8": 3, "keys_not_addressable": 2}
    assert not_listed_pairs(head(not_listed=left_out)) == [
        ("left out", "110 links not followed: the directory is listed under another name"),
        ("left out", "1 path too long to be opened; shorten the names of its directories"),
        (
            "left out",
            "3 names not valid UTF-8, and what lies below it; rename what shall be scored "
            "(convmv -r -f latin1 -t utf8 --notest DIRECTORY)",
        ),
        ("left out", "2 object keys with a leading slash, or a '.' or '..' part; rename what shall be scored"),
    ]


def test_the_file_with_details_is_named_with_what_it_holds() -> None:
    assert details_pairs(None) == []
    details = PlanDetails("/out/_private/plan_details.csv", {"missing image": 1200, "duplicate": 2})
    assert details_pairs(details) == [
        ("details", "/out/_private/plan_details.csv (missing image: 1,200, duplicate: 2); it can name patients")
    ]


def test_images_with_the_content_of_another_one_are_counted() -> None:
    assert duplicate_pairs(None) == duplicate_pairs(0) == []
    assert duplicate_pairs(2) == [("double", "2 images with the content of another one; --details names them")]


def test_skipped_files_are_named_by_their_kinds() -> None:
    assert skipped_pairs(head()) == []
    ((name, text),) = skipped_pairs(head(skipped_files={"pdf": 1, "avi": 12, "": 2}))
    assert (name, text) == ("skipped", "15 files that are no images by name: 12 .avi, 2 of other names, 1 .pdf")
    ((_, many),) = skipped_pairs(head(skipped_files={f"k{n}": 1 for n in range(9)}))
    assert many.endswith("1 .k5, and 3 kinds more")
