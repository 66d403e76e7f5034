"""Readers in two arms, such as unaided and aided: each arm on its own, and the difference between them."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import HEADLINE_RATES, auc_and_brier_rows, call_rows, score_rater
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.tables.cautions import caution_for_readers
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import REASONS, Rater, complete_cases
from diagchd_batch.statistics.multireader.random_readers import Measure, obuchowski_rockette


def arm_estimate_rows(rows: RowBuilder, readers: ReaderStudy, arm: str) -> Iterator[Row]:
    """Estimate each reader's accuracy in one arm.

    Args:
        rows: Columns that all rows share.
        readers: The readers' reads of this arm.
        arm: The arm's name.

    Yields:
        Rows of `estimates`.
    """
    here = rows.with_columns(covariate="arm", level=arm)
    for reader in readers.readers:
        yield from call_rows(here, readers.units, reader, headline=False, rates=HEADLINE_RATES)
        if reader.score is not None:
            yield from auc_and_brier_rows(here, readers.units, reader)


def two_arm_rows(rows: RowBuilder, first: ReaderStudy, second: ReaderStudy, names: tuple[str, str]) -> Iterator[Row]:
    """Compare two arms over the readers of both, by Obuchowski and Rockette with random readers and cases.

    Args:
        rows: Columns that all rows share.
        first: The readers' reads of the first arm.
        second: The readers' reads of the second arm, over the same studies.
        names: The arms' names.

    Yields:
        Rows of `comparisons`: second − first arm in sensitivity, specificity and, if all readers gave scores, AUC.
    """
    common = sorted({r.name for r in first.readers} & {r.name for r in second.readers})
    if not common:
        return
    arms = [[next(r for r in study.readers if r.name == name) for name in common] for study in (second, first)]
    units = first.units
    measures: list[Measure] = ["sensitivity", "specificity"]
    if all(reader.score is not None for arm in arms for reader in arm):
        measures.append("auc")
    for measure in measures:
        raters = [[score_rater(reader) if measure == "auc" else reader for reader in arm] for arm in arms]
        cube = np.array([[reader.scores if measure == "auc" else reader.call for reader in arm] for arm in raters])
        # Only studies that every reader read in both arms enter. Others have the reason that comes first in the flow.
        reasons = np.stack([reader.reason for arm in raters for reader in arm])
        reason = np.where((reasons == 0).all(axis=0), 0, np.where(reasons == 0, len(REASONS), reasons).min(axis=0))
        everyone = Rater("readers_mean", names[1], np.where(reason == 0, 0.0, np.nan), reason.astype(np.int8))
        part = complete_cases(units, everyone)
        here = rows.for_raters(units, everyone).with_counts(units, part)
        here = here.with_columns(analysis_set="determinate", covariate="arm", level=f"{names[1]} − {names[0]}")
        here = here.with_columns(comparator_kind="readers_mean", comparator=names[0], family="arms")
        result = obuchowski_rockette(units.truth[part.rows], cube[..., part.rows], measure, units.subject[part.rows])
        caution = caution_for_readers(len(common)) or _caution_of_loss(arms, part.rows)
        yield here.comparison("roc_auc" if measure == "auc" else measure, result.comparison, caution=caution)


def _caution_of_loss(arms: list[list[Rater]], complete: np.ndarray) -> str | None:
    """Return how many of the studies that anyone read in both arms are left, where some are lost."""
    read = np.logical_and(*(np.any([reader.reason == 0 for reader in arm], axis=0) for arm in arms))
    n_read, n_left = int(read.sum()), int(complete.sum())
    if n_left >= n_read:
        return None
    return f"only the {n_left} of {n_read} studies that every reader read in both arms are compared"
