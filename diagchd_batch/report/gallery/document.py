"""Assembles a gallery and writes it to the private tree."""

import base64
from collections import defaultdict
from dataclasses import dataclass

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.report.formatting import number, words
from diagchd_batch.report.gallery.cases import Case, choose_cases
from diagchd_batch.report.gallery.outlines import outline_path
from diagchd_batch.report.gallery.pictures import Picture, RunPictures
from diagchd_batch.report.page_templates import filled_page
from diagchd_batch.report.report_data import read_report_data
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.output import Output

_SEPTUM = 1


@dataclass(frozen=True)
class Drawing:
    """A case as the page shows it.

    Attributes:
        height: Height of the source frame in pixels.
        width: Width of the source frame in pixels.
        image: The frame as a data URI, or None if it could not be read.
        outlines: (style, path) of each outline, in source pixels.
        facts: (name, value) of what is written below the picture.
        problem: Why the frame could not be read, or None.
        description: Alternative text.
    """

    height: int
    width: int
    image: str | None
    outlines: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    problem: str | None
    description: str


def write_gallery(output: Output, run_id: str, n: int) -> str:
    """Write a gallery of a run. A picture that cannot be read is replaced by the reason.

    Args:
        output: The output that holds the run, with its private tree.
        run_id: The run.
        n: The largest number of cases in a group.

    Returns:
        The key of the HTML file in the private tree.

    Raises:
        UsageError: The run was not evaluated, it has no case to show, or the private tree is not accessible.
        StorageFault: The run's input is gone.
    """
    data = read_report_data(output.storage, run_id)
    lineage = [record.run_id for record in resolve_lineage(output.storage, run_id)]
    groups = choose_cases(output.predictions(), lineage, data.tables["worst_cases"], n)
    if not groups:
        raise UsageError(f"run {run_id} has neither wrong calls, nor reference masks, nor flagged frames to show")
    pictures = _pictures(output, [case for cases in groups.values() for case in cases])
    text = filled_page(
        "gallery.html.j2",
        "gallery.css",
        record=data.record,
        groups={
            title: [_drawing(case, pictures[case.image_id, case.frame]) for case in cases]
            for title, cases in groups.items()
        },
    )
    key = output_layout.gallery_file(run_id)
    output.private.replace(key, text.encode())
    return key


def _pictures(output: Output, cases: list[Case]) -> dict[tuple[str, int], Picture]:
    """Read each picture once, even if several groups show it."""
    by_shard: dict[str, dict[int, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in dict.fromkeys(cases):
        by_shard[case.run_id][case.shard].append(case)
    pictures: dict[tuple[str, int], Picture] = {}
    for run_id, shards in by_shard.items():
        reader = RunPictures(output, run_id)
        for shard, of_shard in shards.items():
            pictures |= reader.read(shard, of_shard)
    return pictures


def _drawing(case: Case, picture: Picture) -> Drawing:
    outlines = []
    for name, mask in (("reference", picture.reference), ("predicted", picture.predicted)):
        if mask is not None:
            for part, area in (("heart", mask > 0), ("septum", mask == _SEPTUM)):
                outlines.append((f"{name} {part}", outline_path(area, case.source_height, case.source_width)))
    without_dice = "no reference mask" if picture.reference is None else "both masks are empty"
    facts = [
        ("study", case.study_id),
        ("image", f"{case.image_id}, frame {case.frame}"),
        ("file", picture.file_key),
        ("probability of CHD", number(case.probability)),
        ("Dice of septum and heart", number(case.dice) if case.dice is not None else without_dice),
        *([("flags", ", ".join(map(words, case.flags)))] if case.flags else []),
    ]
    image = None if picture.png is None else "data:image/png;base64," + base64.b64encode(picture.png).decode()
    masks = "predicted and reference" if picture.reference is not None else "predicted"
    description = f"Image {case.image_id}, frame {case.frame}, with the outlines of the {masks} masks"
    return Drawing(case.source_height, case.source_width, image, outlines, facts, picture.problem, description)
