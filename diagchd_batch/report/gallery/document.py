"""Assembles a gallery and writes it to the private tree."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.report.formatting import count, words
from diagchd_batch.report.gallery.cases import Case, LineageFrames, lineage_frames
from diagchd_batch.report.gallery.drawings import CaseDrawing, case_drawing
from diagchd_batch.report.gallery.pictures import Picture, RunPictures, thumbnail
from diagchd_batch.report.gallery.study_facts import Studies, read_studies
from diagchd_batch.report.page_templates import filled_page
from diagchd_batch.report.report_data import ReportData, read_report_data
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.output import Output
from diagchd_batch.wording import counted

N_OTHER_IMAGES = 6
"""Other images of its study that are shown with a case. The page names the number of those that are left out."""


@dataclass(frozen=True)
class GalleryContents:
    """What a gallery shows.

    Attributes:
        n: The largest number of cases of each kind: wrong calls, lowest and highest Dice, flagged frames, and, where no
            study has a label, highest scores. None leaves them out.
        n_highest: The number of studies with the highest scores; None leaves them out.
        studies: Own ids or tokens of studies whose images are all shown.
    """

    n: int | None = None
    n_highest: int | None = None
    studies: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.n or self.n_highest or self.studies)


@dataclass(frozen=True)
class Group:
    """Cases under one heading, with a note, and whether the other images of each study are shown, too."""

    title: str
    cases: list[Case]
    note: str = ""
    with_other_images: bool = True


def write_gallery(
    output: Output,
    run_id: str,
    contents: GalleryContents,
    *,
    reference: pd.DataFrame | None = None,
    input_uri: str | None = None,
) -> str:
    """Write a gallery of a run in the place of an earlier one. A picture that cannot be read is replaced by the reason.

    Args:
        output: The output that holds the run, with its private tree.
        run_id: The run.
        contents: What the gallery shows.
        reference: The reference table as `read_reference` returns it, for the diagnoses.
        input_uri: Where the archive is now; None for the place that each run's job file names.

    Returns:
        The key of the HTML file in the private tree.

    Raises:
        UsageError: The run was not evaluated, it has no case to show, it has no such study, or the private tree is not
            accessible.
        InputError: The reference table names studies by ambiguous accession numbers.
        StorageFault: The run's input is gone.
    """
    data = read_report_data(output.storage, run_id)
    lineage = [record.run_id for record in resolve_lineage(output.storage, run_id)]
    studies = read_studies(output, lineage, data.operating_point, reference)
    with lineage_frames(output.predictions(), lineage) as frames:
        groups = list(_groups(frames, data, studies, contents))
        if not groups:
            raise UsageError(
                f"run {run_id} has neither wrong calls, nor reference masks, nor flagged frames to show; "
                "--top N shows the studies with the highest scores, --study ID the images of one study"
            )
        others = _other_images(frames, groups)
    shown = {case for group in groups for case in group.cases}
    small = {case for cases in others.values() for case in cases[:N_OTHER_IMAGES]} - shown
    pictures = _pictures(output, shown, small, input_uri)
    text = filled_page(
        "gallery.html.j2",
        "gallery.css",
        record=data.record,
        threshold=data.threshold,
        groups=[
            (group, [_drawing(case, studies, pictures, others.get((group.title, case), [])) for case in group.cases])
            for group in groups
        ],
    )
    key = output_layout.gallery_file(run_id)
    output.private.replace(key, text.encode())
    return key


def _groups(frames: LineageFrames, data: ReportData, studies: Studies, contents: GalleryContents) -> Iterable[Group]:
    for name in contents.studies:
        token = studies.token(name)
        cases = frames.images_of([token]).get(token, [])
        yield Group(
            f"Study {studies.own_ids[token]}", cases, _of_images(token, cases, studies, frames), with_other_images=False
        )
    n_highest = contents.n_highest
    if n_highest is None and not studies.are_labelled:
        n_highest = contents.n
    if n_highest and (cases := frames.highest_of(studies.highest(n_highest))):
        yield Group("Highest scores", cases, "Each study is shown by its frame with the highest probability of CHD.")
    if contents.n:
        for title, cases in frames.remarkable(data.tables["worst_cases"], contents.n).items():
            yield Group(title, cases)


def _of_images(token: str, cases: list[Case], studies: Studies, frames: LineageFrames) -> str:
    """Return how many images of a study are shown, and why others are not."""
    result = studies.results.get(token)
    if cases:
        text = f"{counted(len(cases), 'image')}; one with several frames is shown by that with the highest probability."
    else:
        text = f"No image of this study was scored. The evaluation says: {words(result['status'] if result else None)}."
    if failures := frames.failures_of(token):
        by_code = ", ".join(f"{count(n)} {code}" for code, n in failures.items())
        text += f" Failed and therefore not shown: {by_code}."
    return text


def _other_images(frames: LineageFrames, groups: Sequence[Group]) -> dict[tuple[str, Case], list[Case]]:
    """Return the images of each case's study that its group does not show."""
    wanted = {case.study_id for group in groups if group.with_other_images for case in group.cases}
    images = frames.images_of(sorted(wanted))
    return {
        (group.title, case): [other for other in images[case.study_id] if other.image_id != case.image_id]
        for group in groups
        if group.with_other_images
        for case in group.cases
    }


def _pictures(output: Output, shown: set[Case], small: set[Case], input_uri: str | None) -> dict[Case, Picture]:
    """Read each picture once, even if several groups show it. Those of `small` are reduced to thumbnails."""
    by_shard: dict[str, dict[int, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in sorted(shown | small, key=lambda case: (case.run_id, case.shard, case.image_id, case.frame)):
        by_shard[case.run_id][case.shard].append(case)
    pictures: dict[Case, Picture] = {}
    for run_id, shards in by_shard.items():
        reader = RunPictures(output, run_id, input_uri)
        for shard, cases in shards.items():
            found = reader.read(shard, cases)
            for case in cases:
                picture = found[case.image_id, case.frame]
                pictures[case] = thumbnail(picture) if case in small else picture
    return pictures


def _drawing(case: Case, studies: Studies, pictures: dict[Case, Picture], others: Sequence[Case]) -> CaseDrawing:
    shown = [(other, pictures[other]) for other in others[:N_OTHER_IMAGES]]
    return case_drawing(case, pictures[case], studies, shown, n_left_out=len(others) - len(shown))
