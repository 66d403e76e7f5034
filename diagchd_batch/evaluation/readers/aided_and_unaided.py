"""Readers in two arms, such as unaided and aided: each arm on its own, and the difference between them."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import HEADLINE_RATES, auc_and_brier_rows, call_rows, score_rater
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.tables.cautions import caution_for_readers
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import REASONS, CompleteCases, Rater, Units, complete_cases
from diagchd_batch.statistics.multireader.random_readers import Measure, compare_arms_with_gaps, obuchowski_rockette


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
        Rows of `comparisons`: second − first arm in sensitivity, specificity and, if all readers gave scores, AUC. The
        analysis set `determinate` holds the studies that every reader read in both arms. If some studies were read by
        a part of the readers, `read_in_both_arms` compares each reader on all that he or she read in both.
    """
    common = sorted({r.name for r in first.readers} & {r.name for r in second.readers})
    if not common:
        return
    arms = [[next(r for r in study.readers if r.name == name) for name in common] for study in (second, first)]
    units, truth, subject = first.units, first.units.truth, first.units.subject
    measures: list[Measure] = ["sensitivity", "specificity"]
    if all(reader.score is not None for arm in arms for reader in arm):
        measures.append("auc")
    here = rows.with_columns(covariate="arm", level=f"{names[1]} − {names[0]}", family="arms")
    for measure in measures:
        endpoint = "roc_auc" if measure == "auc" else measure
        raters = [[score_rater(reader) if measure == "auc" else reader for reader in arm] for arm in arms]
        cube = np.array([[reader.scores if measure == "auc" else reader.call for reader in arm] for arm in raters])
        reasons = np.stack([[reader.reason for reader in arm] for arm in raters])
        in_both = (reasons == 0).all(axis=0)
        cube = np.where(in_both, cube, np.nan)
        of_all, of_any = (_studies(reasons, kept, names[1]) for kept in (in_both.all(axis=0), in_both.any(axis=0)))
        complete, read = complete_cases(units, of_all), complete_cases(units, of_any)
        n_complete, n_read = int(complete.rows.sum()), int(read.rows.sum())
        few_readers = caution_for_readers(len(common))
        loss = f"only the {n_complete} of {n_read} studies that every reader read in both arms are compared"
        cautions = [text for text in (loss if n_complete < n_read else None, few_readers) if text]
        builder = _columns(here, units, of_all, complete, names[0]).with_columns(analysis_set="determinate")
        of_complete = cube[..., complete.rows], measure, subject[complete.rows]
        result = obuchowski_rockette(truth[complete.rows], *of_complete).comparison
        yield builder.comparison(endpoint, result, caution="; ".join(cautions) or None)
        if n_complete < n_read:
            builder = _columns(here, units, of_any, read, names[0]).with_columns(analysis_set="read_in_both_arms")
            result = compare_arms_with_gaps(truth[read.rows], cube[..., read.rows], measure, subject[read.rows])
            yield builder.comparison(endpoint, result, caution=few_readers)


def _studies(reasons: np.ndarray, kept: np.ndarray, arm: str) -> Rater:
    """Return the readers as one rater of the kept studies. Others have the reason that comes first in the flow.

    `reasons` has the shape [arms, readers, studies].
    """
    first = np.where(reasons == 0, len(REASONS), reasons).min(axis=(0, 1))
    reason = np.where(kept, 0, first).astype(np.int8)
    return Rater("readers_mean", arm, np.where(kept, 0.0, np.nan), reason)


def _columns(rows: RowBuilder, units: Units, everyone: Rater, part: CompleteCases, first_arm: str) -> RowBuilder:
    here = rows.for_raters(units, everyone).with_counts(units, part)
    return here.with_columns(comparator_kind="readers_mean", comparator=first_arm)
