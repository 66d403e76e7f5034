"""What `plan` and `submit` print of the objects of a DICOM archive: what is planned, and what is not and why."""

from typing import TYPE_CHECKING, Any

from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.studies.plan.stored_plan import PlanHead


def object_pairs(head: "PlanHead") -> list[tuple[str, Any]]:
    """Return names and values to print of a plan of layout `dicom`. They are none for other layouts.

    Args:
        head: The plan in numbers.
    """
    objects = head.objects
    if objects is None:
        return []
    pairs: list[tuple[str, Any]] = []
    if objects.not_planned:
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in objects.not_planned.items())
        n_others = sum(objects.not_planned.values())
        pairs.append(("no image", f"{counted(n_others, 'object')} not planned: {kinds}"))
    for key, n_images in objects.left_out_images.items():
        n_studies = counted(objects.left_out_studies.get(key, 0), "study")
        left_out = f"{n_studies} left out by input.filter.{key}, and {counted(n_images, 'image')} in all"
        pairs.append(("filtered", left_out))
    if objects.n_copies:
        copies = f"{counted(objects.n_copies, 'object')} not planned: another with the same SOP Instance UID is"
        if objects.n_differing:
            copies += f"; copies of {counted(objects.n_differing, 'UID')} differ, and the largest one is planned"
        pairs.append(("found twice", copies))
    if objects.n_unreadable:
        unreadable = f"{counted(objects.n_unreadable, 'header')} cannot be read"
        pairs.append(("unreadable", f"{unreadable}; each object is planned and will be a row that says why it failed"))
    return pairs


def subject_pairs(head: "PlanHead") -> list[tuple[str, Any]]:
    """Return names and values to print of how the subjects of a plan are known.

    Args:
        head: The plan in numbers.
    """
    n_alone = head.n_studies_without_subject
    if head.objects is None:
        text = f"not given for {counted(n_alone, 'study')}: each study counts as one subject"
        return [("subjects", text)] if n_alone else []
    n_by_patient = head.n_studies - head.n_studies_by_mother - n_alone
    pairs: list[tuple[str, Any]] = [("subjects", f"by PatientID and its issuer in {counted(n_by_patient, 'study')}")]
    if head.n_studies_by_mother:
        pairs.append(("", f"by the mother's name in {counted(head.n_studies_by_mother, 'study')} without a PatientID"))
    if n_alone:
        pairs.append(("", f"not named in {counted(n_alone, 'study')}: each study counts as one subject"))
    if head.objects.n_several_patients:
        several = counted(head.objects.n_several_patients, "study")
        pairs.append(("", f"{several} with several patients: the one that most of its images name counts"))
    return pairs
