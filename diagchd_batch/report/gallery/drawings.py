"""Turns a case and its pictures into what the gallery's template draws and says."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from diagchd_batch.report.formatting import number, words
from diagchd_batch.report.gallery.cases import Case
from diagchd_batch.report.gallery.outlines import outline_path
from diagchd_batch.report.gallery.pictures import Picture, thumbnail
from diagchd_batch.report.gallery.study_facts import Studies

_SEPTUM = 1
_LABELS = {1: "diseased", 0: "healthy"}


@dataclass(frozen=True)
class Drawing:
    """A frame as the page shows it.

    Attributes:
        height: Height of the source frame in pixels.
        width: Width of the source frame in pixels.
        image: The frame as a data URI, or None if it could not be read.
        outlines: (style, path) of each outline, in source pixels.
        problem: Why the frame could not be read, or None.
        description: Alternative text.
        caption: What stands below a small picture.
    """

    height: int
    width: int
    image: str | None
    outlines: list[tuple[str, str]]
    problem: str | None
    description: str
    caption: str


@dataclass(frozen=True)
class CaseDrawing:
    """A case as the page shows it.

    Attributes:
        drawing: The frame.
        title: The study's own id.
        study_facts: (name, value) of what is known of the study.
        frame_facts: (name, value) of what is known of the frame.
        others: Other images of the study.
        n_left_out: The number of further images of the study.
    """

    drawing: Drawing
    title: str
    study_facts: list[tuple[str, str]]
    frame_facts: list[tuple[str, str]]
    others: list[Drawing] = field(default_factory=list)
    n_left_out: int = 0


def case_drawing(
    case: Case, picture: Picture, studies: Studies, others: Sequence[tuple[Case, Picture]], n_left_out: int
) -> CaseDrawing:
    """Return a case as the page shows it.

    Args:
        case: The frame.
        picture: Its picture.
        studies: What is known of the studies.
        others: Other images of the study, with their pictures.
        n_left_out: The number of further images of the study.
    """
    without_dice = "no reference mask" if picture.reference is None else "both masks are empty"
    has_dice = case.dice is not None or picture.reference is not None
    frame_facts = [
        ("probability of CHD", number(case.probability)),
        *([("mean Dice", number(case.dice) if case.dice is not None else without_dice)] * has_dice),
        *([("flags", ", ".join(map(words, case.flags)))] if case.flags else []),
        ("file", picture.file_key),
        ("image", f"{case.image_id}, frame {case.frame}"),
    ]
    return CaseDrawing(
        _drawing(case, picture),
        studies.own_ids.get(case.study_id, case.study_id),
        _study_facts(case.study_id, studies),
        frame_facts,
        [_drawing(other, thumbnail(found)) for other, found in others],
        n_left_out,
    )


def _study_facts(study_id: str, studies: Studies) -> list[tuple[str, str]]:
    facts = []
    if result := studies.results.get(study_id):
        called = f", called {result['call']}" if result["call"] else ""
        facts.append(("study's score", f"{number(result['score'])}{called}"))
        if studies.are_labelled:
            facts.append(("reference", _LABELS.get(result["reference_label"], "no label")))
    if diagnosis := studies.diagnosis(study_id):
        facts.append(("diagnosis", diagnosis))
    return [*facts, ("study", study_id)]


def _drawing(case: Case, picture: Picture) -> Drawing:
    outlines = []
    for name, mask in (("reference", picture.reference), ("predicted", picture.predicted)):
        if mask is not None:
            for part, area in (("heart", mask > 0), ("septum", mask == _SEPTUM)):
                outlines.append((f"{name} {part}", outline_path(area, case.source_height, case.source_width)))
    image = None if picture.png is None else "data:image/png;base64," + base64.b64encode(picture.png).decode()
    masks = "predicted and reference" if picture.reference is not None else "predicted"
    description = f"Image {case.image_id}, frame {case.frame}, with the outlines of the {masks} masks"
    caption = f"{number(case.probability)}, {picture.file_key.rpartition('/')[2]}"
    return Drawing(case.source_height, case.source_width, image, outlines, picture.problem, description, caption)
