"""What `plan` prints of files that are not there."""

import pytest

from diagchd_batch.cli.plan import missing_pairs
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
