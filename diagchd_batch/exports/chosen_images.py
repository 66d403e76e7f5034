"""The images of chosen studies, with the rows that count and their masks."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.images.regions.frame_region import labels_on_source
from diagchd_batch.results.columns import SCORES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.datasets import damage_as_fault, parquet_files
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, open_query
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.wording import counted, shown_value

Row = dict[str, Any]

_STUDY_TOKEN = re.compile(r"s-[0-9a-f]{16}")
_SHOWN_TOKENS = 5

# Studies that the latest plan excludes, for instance because consent was withdrawn, are left out, as in the worklist.
_FRAMES = """
WITH own AS (SELECT lineage, study_id, n_images = 0 AS excluded FROM lineage_studies), scored AS ({scored})
SELECT current.*, scored.score AS study_chd_score
FROM current LEFT JOIN own USING (lineage, study_id) LEFT JOIN scored USING (lineage, study_id)
WHERE status = 'ok' AND excluded IS NOT TRUE AND {condition}
ORDER BY run_id, shard, study_id, image_id, frame
"""


@dataclass(frozen=True)
class StudyChoice:
    """Which studies of a run are exported.

    Attributes:
        studies: Own ids or tokens of studies; empty for no restriction.
        where: An SQL condition on the view `current`. Studies with a row that meets it are chosen, with all frames.
    """

    studies: tuple[str, ...] = ()
    where: str | None = None

    def __post_init__(self) -> None:
        """Raise UsageError if both ways of choosing are used."""
        if self.studies and self.where:
            raise UsageError("--study and --where both choose studies; give one of them")

    def condition(self, tokens: Collection[str]) -> str:
        """Return the condition in SQL.

        Args:
            tokens: The tokens of `studies`.
        """
        if self.studies:
            return f"study_id IN ({', '.join(repr(token) for token in tokens)})"
        if self.where:
            return f"study_id IN (SELECT study_id FROM current WHERE (\n{self.where}\n))"
        return "true"


@dataclass(frozen=True)
class ChosenImage:
    """An image of a chosen study.

    Attributes:
        run_id: The run that scored it.
        shard: The shard that holds its rows.
        study_id: The token of its study.
        image_id: Its token.
        rows: The rows of its scored frames, in the order of frames, with `mask_png` and with `study_chd_score`, the
            score of the study.
    """

    run_id: str
    shard: int
    study_id: str
    image_id: str
    rows: Sequence[Row]


class ChosenImages:
    """The scored images of chosen studies. Iterating yields them shard by shard.

    Attributes:
        n_images: How many images there are.
    """

    def __init__(self, output: Output, database: QueryDatabase, sql: str, n_images: int) -> None:
        self.n_images = n_images
        self._output = output
        self._database = database
        self._sql = sql

    def __iter__(self) -> Iterator[ChosenImage]:
        """Yield the images. Raises RunFault if a table cannot be read."""
        with self._database.rows(self._sql) as batches:
            for (of_run, shard), rows in groupby(_rows(batches), lambda row: (row["run_id"], row["shard"])):
                yield from _with_masks(self._output, of_run, shard, list(rows))


def chosen_images(
    output: Output, run_id: str, choice: StudyChoice, definition: ScoreDefinition = ScoreDefinition()
) -> ChosenImages:
    """Return the scored images of the chosen studies.

    If the run continues others, each frame's latest result counts, from whichever run it is.

    Args:
        output: The output, with its private tree, which says what is excluded.
        run_id: The newest run.
        choice: The studies.
        definition: How frames make the study's score.

    Returns:
        The images that have a scored frame.

    Raises:
        UsageError: No scored frame is chosen, a study that was named has none, or no plan has it.
        RunFault: A table or a plan cannot be read.
    """
    tokens = _tokens(output, run_id, choice.studies)
    database = open_query(output, TABLES, run_id)
    sql = _FRAMES.format(condition=choice.condition(tokens), scored=definition.current_studies_sql)
    per_study = database.table(f"SELECT study_id, count(DISTINCT image_id) AS n FROM ({sql}) GROUP BY study_id")
    _refuse_missing(set(per_study["study_id"].to_pylist()), run_id, tokens)
    return ChosenImages(output, database, sql, sum(per_study["n"].to_pylist()))


def _tokens(output: Output, run_id: str, studies: Collection[str]) -> list[str]:
    """Return the tokens of studies that are named by own ids or tokens. The lineage's plans tell own ids."""
    tokens = {name for name in studies if _STUDY_TOKEN.fullmatch(name)}
    own_ids = set(studies) - tokens
    if own_ids:
        unknown = set(own_ids)
        for record in resolve_lineage(output.storage, run_id):
            for planned in open_plan(output.private, record.run_id).studies():
                named = planned.filter(pc.is_in(planned["source_study_id"], pa.array(sorted(own_ids), pa.string())))
                tokens |= set(named["study_id"].to_pylist())
                unknown -= set(named["source_study_id"].to_pylist())
        if unknown:
            raise UsageError(
                f"--study {shown_value(min(unknown))}: no plan of this run or of the runs that it continues has such a "
                "study; give the study's own id as in the manifest, or its token s-…"
            )
    return sorted(tokens)


def _refuse_missing(found: set[str], run_id: str, tokens: Collection[str]) -> None:
    if missing := sorted(set(tokens) - found):
        shown = ", ".join(missing[:_SHOWN_TOKENS])
        raise UsageError(
            f"run {run_id} has no scored frame in {counted(len(missing), 'study')} of --study ({shown}); omit them. "
            "The command `show` says what is known of a study"
        )
    if not found:
        raise UsageError(
            f"run {run_id} has no scored frame in the chosen studies; the command `query` shows what the run has"
        )


def _rows(batches: pa.RecordBatchReader) -> Iterator[Row]:
    for batch in batches:
        yield from batch.to_pylist()


def _with_masks(output: Output, run_id: str, shard: int, rows: list[Row]) -> Iterator[ChosenImage]:
    image_ids = sorted({row["image_id"] for row in rows})
    with damage_as_fault(run_id):
        table = parquet_files(output.storage, [output_layout.shard_file(run_id, shard)], SCORES).to_table(
            columns=["image_id", "frame", "mask_png"], filter=ds.field("image_id").isin(image_ids)
        )
    masks = {(row["image_id"], row["frame"]): row["mask_png"] for row in table.to_pylist()}
    for image_id, of_image in groupby(rows, lambda row: row["image_id"]):
        with_masks = [{**row, "mask_png": masks[image_id, row["frame"]]} for row in of_image]
        yield ChosenImage(run_id, shard, with_masks[0]["study_id"], image_id, with_masks)


def labels_at_source(row: Mapping[str, Any]) -> np.ndarray:
    """Return the mask of a row at the pixels of the frame that it was predicted from.

    Args:
        row: A row of `chosen_images`.

    Returns:
        Class numbers, uint8 [height, width]. Outside the part of the frame that was scored it is background.

    Raises:
        RunFault: The row does not fit together.
    """
    height, width = row["source_height"], row["source_width"]
    region = (0, 0, height, width)  # rows before schema version 3 have none
    if row["region_height"] is not None:
        region = (row["region_top"], row["region_left"], row["region_height"], row["region_width"])
    try:
        return labels_on_source(decode_mask(row["mask_png"]), region, height, width)
    except ValueError as error:
        raise RunFault(f"a row of image {row['image_id']} is damaged ({error}); run the command `verify`") from error
