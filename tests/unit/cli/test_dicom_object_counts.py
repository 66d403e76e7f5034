"""What `plan` and `submit` say of the objects of a DICOM archive."""

from typing import Any

from diagchd_batch.cli.dicom_object_counts import object_pairs, subject_pairs
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.plan.stored_plan import PlanHead

NUMBERS = (
    "images_per_shard n_studies n_subjects n_images n_masks size_bytes n_excluded n_excluded_studies "
    "n_studies_without_subject n_missing n_missing_masks n_unlisted"
)


def head(objects: ObjectCounts | None = None, **numbers: Any) -> PlanHead:
    values = {**dict.fromkeys(NUMBERS.split(), 0), **numbers}
    return PlanHead(digest="", created_by="", frames="all", shards=(), objects=objects, **values)


def counts(**numbers: Any) -> ObjectCounts:
    nothing: dict[str, Any] = {"not_planned": {}, "left_out_images": {}, "left_out_studies": {}}
    zeros = dict.fromkeys(("n_objects", "n_unreadable", "n_copies", "n_differing", "n_several_patients"), 0)
    return ObjectCounts.model_validate(nothing | zeros | numbers)


def test_what_is_not_planned_is_said_with_its_reason() -> None:
    objects = counts(
        not_planned={"Comprehensive SR Storage": 1_200, "DICOMDIR": 1},
        n_unreadable=1,
        n_copies=3,
        n_differing=1,
        left_out_images={"modality": 40, "number_of_frames": 1},
        left_out_studies={"modality": 12},
    )
    assert object_pairs(head(objects)) == [
        ("no image", "1,201 objects not planned: Comprehensive SR Storage 1,200, DICOMDIR 1"),
        ("filtered", "12 studies left out by input.filter.modality, and 40 images in all"),
        ("filtered", "0 studies left out by input.filter.number_of_frames, and 1 image in all"),
        (
            "found twice",
            "3 objects not planned: another with the same SOP Instance UID is; copies of 1 UID differ, and the largest "
            "one is planned",
        ),
        (
            "unreadable",
            "1 header cannot be read; each object is planned and will be a row that says why it failed",
        ),
    ]
    assert object_pairs(head(counts())) == []
    assert object_pairs(head()) == []


def test_how_subjects_are_known_is_said() -> None:
    whole = head(counts(n_several_patients=2), n_studies=9, n_studies_by_mother=3, n_studies_without_subject=1)
    assert subject_pairs(whole) == [
        ("subjects", "by PatientID and its issuer in 5 studies"),
        ("", "by the mother's name in 3 studies without a PatientID"),
        ("", "not named in 1 study: each study counts as one subject"),
        ("", "2 studies with several patients: the one that most of its images name counts"),
    ]
    assert subject_pairs(head(counts(), n_studies=9)) == [("subjects", "by PatientID and its issuer in 9 studies")]
    by_hand = head(n_studies=9, n_studies_without_subject=9)
    assert subject_pairs(by_hand) == [("subjects", "not given for 9 studies: each study counts as one subject")]
    assert subject_pairs(head(n_studies=9)) == []
