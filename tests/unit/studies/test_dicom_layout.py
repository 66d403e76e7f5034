"""Layout dicom: studies, subjects and images from rows of the index of headers."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.plan.make_plan import PlanPreview, count_new_images, freeze_plan, preview_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.selection import new_since
from diagchd_batch.studies.plan.stored_plan import Plan
from tests.unit.studies.archives import PSEUDONYMIZER, SimulatedListing
from tests.unit.studies.header_rows import batches, header

SR = "1.2.840.10008.5.1.4.1.1.88.33"
NOTHING_LISTED: Any = SimulatedListing([])
"""A source. Planning from headers must not list it."""


def config(**filters: Any) -> InputConfig:
    return InputConfig.model_validate({"uri": "archive", "layout": "dicom", "filter": filters or None})


def preview(rows: Iterable[dict[str, Any]], **filters: Any) -> PlanPreview:
    rows = list(rows)
    return preview_plan(config(**filters), ShardsConfig(), NOTHING_LISTED, PSEUDONYMIZER, headers=lambda: batches(rows))


def counts(plan: PlanPreview) -> ObjectCounts:
    assert plan.head.objects is not None
    return plan.head.objects


def studies(plan: PlanPreview) -> dict[str, dict[str, Any]]:
    return {row["source_study_id"]: row for row in plan.studies.to_pylist()}


class Runs:
    """Runs of one archive, each of which plans what is new since the earlier ones."""

    def __init__(self, directory: Path) -> None:
        self.private = open_store(str(directory / "private"), owner_only=True)
        self.plans: list[Plan] = []

    def plan_new(self, *rows: dict[str, Any]) -> dict[str, PlannedImage]:
        """Plan the next run from these rows, and return its images by key."""
        expected = count_new_images(config(), NOTHING_LISTED, self.plans, PSEUDONYMIZER, headers=lambda: batches(rows))
        plan = freeze_plan(
            config(),
            ShardsConfig(),
            NOTHING_LISTED,
            self.private,
            f"run-{len(self.plans)}",
            PSEUDONYMIZER,
            headers=lambda: batches(rows),
            select=new_since(self.plans) if self.plans else None,
        )
        self.plans.append(plan)
        images = {image.uri: image for shard in plan.shards() for image in plan.read_shard(shard)}
        assert len(images) == expected
        return images


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_studies_and_subjects_are_those_of_the_headers_whatever_the_names_of_files() -> None:
    plan = preview(
        [
            header("a/IM1", "1.1", patient_id="007", issuer_of_patient_id="North", accession_number="A1"),
            header("b/IM1", "1.1", patient_id="007", issuer_of_patient_id="North"),
            header("a/IM2", "1.2", patient_id="007", issuer_of_patient_id="North"),
            header("a/IM3", "1.3", patient_id="007", issuer_of_patient_id="South"),
            header("a/IM4", "1.4", patient_id="007"),
            header("a/IM5", "1.5", mother_id="Roe^Jane"),
            header("a/IM6", "1.6", mother_id="Roe^Jane"),
            header("a/IM7", "1.7"),
        ]
    )
    found = studies(plan)
    assert {study: row["source_subject_id"] for study, row in found.items()} == {
        "1.1": "007^^^North",
        "1.2": "007^^^North",
        "1.3": "007^^^South",
        "1.4": "007",
        "1.5": "Roe^Jane",
        "1.6": "Roe^Jane",
        "1.7": None,
    }
    assert {study: row["subject_from"] for study, row in found.items() if study > "1.3"} == {
        "1.4": "patient_id",
        "1.5": "mother",
        "1.6": "mother",
        "1.7": None,
    }
    assert found["1.1"]["n_images"] == 2
    assert found["1.1"]["accession_number"] == "A1"
    head = plan.head
    assert (head.n_studies, head.n_subjects, head.n_images) == (7, 5, 8)
    assert (head.n_studies_by_mother, head.n_studies_without_subject) == (2, 1)


def test_a_study_with_several_patients_is_of_the_one_that_most_of_its_images_name() -> None:
    rows = [header(f"{n}", "1.1", patient_id=patient) for n, patient in enumerate(["x", "b", "b", None])]
    rows += [header(f"m{n}", "1.1", mother_id="Roe^Jane") for n in range(5)]
    rows += [header(f"t{n}", "1.2", patient_id=patient) for n, patient in enumerate(["d", "c"])]
    rows += [
        header(f"s{n}", "1.3", patient_id="e", accession_number=number) for n, number in enumerate(["9", "8", "9"])
    ]
    plan = preview(rows)
    found = studies(plan)
    assert {study: row["source_subject_id"] for study, row in found.items()} == {"1.1": "b", "1.2": "c", "1.3": "e"}
    assert found["1.3"]["accession_number"] == "9"
    assert counts(plan).n_several_patients == 2


def test_an_object_has_one_token_from_disk_s3_and_pacs(runs: Runs) -> None:
    on_disk = header("2019/Roe/IM1.dcm", "1.1", "1.1.5", size_bytes=900, modified_ns=5)
    in_s3 = header("archive/0001", "1.1", "1.1.5", size_bytes=900, etag="abc", modified_ns=None)
    in_a_pacs = header("studies/1.1/instances/1.1.5", "1.1", "1.1.5", size_bytes=None, modified_ns=None)
    images: list[PlannedImage] = []
    for place in (on_disk, in_s3, in_a_pacs):
        images += runs.plan_new(place).values()
        runs.plans.clear()
        runs.private = open_store(runs.private.uri + "+", owner_only=True)
    assert len({image.uri for image in images}) == 3
    assert {(image.image_id, image.study_id) for image in images} == {
        (PSEUDONYMIZER.image_of_uid("1.1.5"), PSEUDONYMIZER.study_of_uid("1.1"))
    }


def test_tokens_of_uids_are_unlike_those_of_the_same_texts_as_names() -> None:
    tokens = Pseudonymizer(b"another key of tests, 32 bytes..")
    assert tokens.image_of_uid("1.2") != tokens.image("1.2")
    assert tokens.study_of_uid("1.2") != tokens.study("1.2")
    assert tokens.image_of_uid("1.2")[2:] != tokens.study_of_uid("1.2")[2:]


def test_objects_without_uids_are_told_by_their_keys() -> None:
    plan = preview(
        [
            header("a/no-study", None, "1.1.1"),
            header("a/no-sop", "1.1", sop_uid=None),
            header("a/nothing", None),
            header("b/nothing", None),
        ]
    )
    assert set(studies(plan)) == {"file:a/no-study", "1.1", "file:a/nothing", "file:b/nothing"}
    assert plan.head.n_images == 4


def test_objects_that_are_no_images_are_counted_and_unreadable_ones_are_planned() -> None:
    plan = preview(
        [
            header("image", "1.1", patient_id="a"),
            header("report", "1.1", kind="not_an_image", sop_class_uid=SR),
            header("other", "1.1", kind="not_an_image", sop_class_uid="1.2.3.SMITH"),
            header("unnamed", "1.1", kind="not_an_image", sop_class_uid=None),
            header("DICOMDIR", kind="dicomdir"),
            header("notes.txt", kind="not_dicom"),
            header("photo.dcm", kind="not_dicom"),
            header("damaged", kind="unreadable", size_bytes=None),
            header("refused", kind="not_read"),
        ]
    )
    assert counts(plan).not_planned == {
        "not DICOM": 2,
        "objects of unknown SOP classes": 2,
        "Comprehensive SR Storage": 1,
        "DICOMDIR": 1,
    }
    assert counts(plan).n_objects == 9
    assert counts(plan).n_unreadable == 2
    assert set(studies(plan)) == {"1.1", "file:damaged", "file:refused"}
    assert (plan.head.n_images, plan.head.n_missing, plan.head.n_unlisted) == (3, 0, 0)


@pytest.mark.parametrize(
    ("frames", "n_frames", "n_second_requests"),
    [("all", 1 + 2 + 100 + 1 + 1, 0), ("middle", 5, 2), ({"max": 12}, 1 + 2 + 12 + 1 + 1, 1), ({"every": 3}, 38, 2)],
)
def test_frames_and_requests_are_counted_as_the_headers_claim_them(
    frames: Any, n_frames: int, n_second_requests: int
) -> None:
    rows = [
        header("still", "1.1", n_frames=1),
        header("pair", "1.2", n_frames=2),
        header("loop", "1.3", n_frames=100),
        header("liar", "1.4", n_frames=1 << 40),
        header("damaged", kind="unreadable"),
        header("report", "1.1", kind="not_an_image", sop_class_uid=SR, n_frames=7),
    ]
    chosen = InputConfig.model_validate({"uri": "nowhere", "layout": "dicom", "frames": frames})
    plan = preview_plan(chosen, ShardsConfig(), NOTHING_LISTED, PSEUDONYMIZER, headers=lambda: batches(rows))
    assert plan.head.n_frames == n_frames
    assert plan.head.requests_per_image == 1 + n_second_requests / 5


def test_an_object_that_is_found_twice_is_planned_once(runs: Runs) -> None:
    images = runs.plan_new(
        header("b/copy", "1.1", "9.1", modified_ns=2),
        header("a/later-copy", "1.1", "9.1", modified_ns=3),
        header("c/oldest", "1.1", "9.1", modified_ns=1),
        header("a/truncated", "1.1", "9.2", size_bytes=10, modified_ns=1),
        header("b/whole", "1.1", "9.2", size_bytes=99, modified_ns=2),
        header("a/damaged", "1.1", "9.3", kind="unreadable", size_bytes=200),
        header("b/sound", "1.1", "9.3", size_bytes=100),
    )
    assert set(images) == {"c/oldest", "b/whole", "b/sound"}
    objects = runs.plans[0].head.objects
    assert objects is not None
    assert (objects.n_copies, objects.n_differing) == (4, 2)


@pytest.mark.parametrize(
    ("etags", "n_differing"), [(("a", "a"), 0), (("a", "b"), 1), (("a", "b-2"), 0), ((None, None), 0)]
)
def test_copies_of_one_size_differ_by_their_entity_tags(etags: tuple[str | None, ...], n_differing: int) -> None:
    rows = [header(f"{n}", "1.1", "9.1", etag=etag, modified_ns=None) for n, etag in enumerate(etags)]
    assert (counts(preview(rows)).n_copies, counts(preview(rows)).n_differing) == (1, n_differing)


def test_what_is_new_does_not_depend_on_copies_or_on_the_order_of_the_index(runs: Runs) -> None:
    first = [header("b", "1.1", "9.1", modified_ns=1), header("d", "1.2", "9.2", modified_ns=1)]
    assert set(runs.plan_new(*first)) == {"b", "d"}
    assert not runs.plan_new(*reversed(first))
    copy = header("a", "1.1", "9.1", modified_ns=7)
    assert not runs.plan_new(copy, *first)
    changed = {**first[1], "size_bytes": 1_001}
    added = header("c", "1.1", "9.3")
    assert set(runs.plan_new(first[0], copy, changed, added)) == {"d", "c"}
    moved = header("elsewhere", "1.2", "9.2", size_bytes=1_001)
    assert not runs.plan_new(first[0], added, moved)


FILTERED = [
    header("a", "1.1", modality="US", manufacturer="GE Healthcare", series_description="4CH view", n_frames=1),
    header("b", "1.1", modality="CT", manufacturer="Philips", series_description="4CH", n_frames=1),
    header("c", "1.2", modality="US", manufacturer="PHILIPS", body_part="HEART", n_frames=40),
    header("d", "1.3", modality="us", manufacturer="Acme 100%", study_date=date(2018, 12, 31), n_frames=None),
    header("e", "1.4", modality=None, manufacturer=None, study_date=None, n_frames=2),
    header("f", kind="unreadable", modality=None, n_frames=None, study_date=None, manufacturer=None),
]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"modality": ["US"]}, "acd"),
        ({"modality": ["ct", "MR"]}, "b"),
        ({"manufacturer": ["ge*", "philips"]}, "abc"),
        ({"manufacturer": ["*100%"]}, "d"),
        ({"manufacturer": ["GE_Healthcare"]}, ""),
        ({"manufacturer": ["GE?Healthcare"]}, "a"),
        ({"manufacturer": ["' OR true --"]}, ""),
        ({"study_date": {"first": "2019-01-01"}}, "abc"),
        ({"study_date": {"last": "20181231"}}, "d"),
        ({"study_date": {"first": "2020-05-17", "last": "2020-05-17"}}, "abc"),
        ({"body_part": ["HEART"]}, "c"),
        ({"series_description": ["*4ch*"]}, "ab"),
        ({"number_of_frames": {"max": 1}}, "ab"),
        ({"number_of_frames": {"min": 2}}, "ce"),
        ({"number_of_frames": {"min": 2, "max": 39}}, "e"),
        ({"modality": ["US"], "number_of_frames": {"min": 2}}, "c"),
    ],
)
def test_filters_keep_what_passes_all_of_them_and_what_cannot_be_read(filters: dict[str, Any], kept: str) -> None:
    plan = preview(FILTERED, **filters)
    assert plan.head.n_images == len(kept) + 1
    assert set(studies(plan)) == {row["study_uid"] for row in FILTERED if row["key"] in kept} | {"file:f"}
    assert sum(counts(plan).left_out_images.values()) == 5 - len(kept)


def test_a_study_is_counted_at_the_filter_that_takes_its_last_image() -> None:
    rows = [
        header("a", "1.1", modality="CT"),
        header("b", "1.1", n_frames=3),
        header("c", "1.2", modality="CT", n_frames=3),
        header("d", "1.3", n_frames=3),
        header("e", "1.3"),
    ]
    found = counts(preview(rows, modality=["US"], number_of_frames={"max": 1}))
    assert found.left_out_images == {"modality": 2, "number_of_frames": 2}
    assert found.left_out_studies == {"modality": 1, "number_of_frames": 1}


def test_an_archive_without_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"no DICOM image was found .*found: not DICOM 2, DICOMDIR 1"):
        preview([header("a", kind="not_dicom"), header("b", kind="not_dicom"), header("c", kind="dicomdir")])
    with pytest.raises(InputError, match="found: nothing"):
        preview([])
    with pytest.raises(InputError, match=r"input\.filter leaves out every image .*modality 5"):
        preview(FILTERED[:-1], modality=["MR"])


TEXTS = st.sampled_from([None, "1", "2", "3"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["image", "image", "not_an_image", "dicomdir", "not_dicom", "unreadable"]),
            "study_uid": TEXTS,
            "sop_uid": TEXTS,
            "patient_id": TEXTS,
            "mother_id": TEXTS,
            "issuer_of_patient_id": TEXTS,
            "size_bytes": st.sampled_from([None, 1, 2]),
            "modality": st.sampled_from([None, "US", "CT"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(ROWS, st.booleans())
def test_every_object_is_planned_once_or_counted(values: list[dict[str, Any]], is_filtered: bool) -> None:
    rows = [header(f"k{n}", **row) for n, row in enumerate([{"sop_uid": "9", "study_uid": "9"}, *values])]
    plan = preview(rows, **({"modality": ["US"]} if is_filtered else {}))
    found = counts(plan)
    not_planned = sum(found.not_planned.values()) + sum(found.left_out_images.values()) + found.n_copies
    assert found.n_objects == len(rows) == plan.head.n_images + not_planned
    assert sum(row["n_images"] for row in plan.studies.to_pylist()) == plan.head.n_images


@pytest.mark.slow
def test_a_hundred_thousand_objects() -> None:
    rows = (header(f"{n}", f"1.{n // 40}", f"9.{n}", patient_id=f"P{n // 80}") for n in range(100_000))
    plan = preview(rows, modality=["US"], study_date={"first": "2000-01-01"})
    assert (plan.head.n_images, plan.head.n_studies, plan.head.n_subjects) == (100_000, 2_500, 1_250)
