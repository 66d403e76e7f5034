"""Readers in two arms, such as unaided and aided: each arm on its own, and the difference between them."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import HEADLINE_RATES, call_rows, score_rows, scored_by
from diagchd_batch.evaluation.readers.agreement import pair_rows
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy, Reads, reader_study, session_order
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import REASONS, Rater, Units, entered
from diagchd_batch.statistics.multireader.random_readers import Measure, obuchowski_rockette


def arm_estimate_rows(rows: Rows, readers: ReaderStudy, arm: str) -> Iterator[Row]:
    """Each reader of one arm against the reference standard."""
    here = rows.having(covariate="arm", level=arm)
    for reader in readers.readers:
        yield from call_rows(here, readers.units, reader, headline=False, rates=HEADLINE_RATES)
        if reader.score is not None:
            yield from score_rows(here, readers.units, reader)


def two_arm_rows(rows: Rows, first: ReaderStudy, second: ReaderStudy, names: tuple[str, str]) -> Iterator[Row]:
    """For `comparisons`: second − first arm over the readers of both, readers and cases random.

    Both studies are over the same units. `names` are the arms'.
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
        raters = [[scored_by(reader) if measure == "auc" else reader for reader in arm] for arm in arms]
        cube = np.array([[reader.scores if measure == "auc" else reader.call for reader in arm] for arm in raters])
        # A unit without a reading of any reader in any arm does not enter; its reason is the first in the flow.
        reasons = np.stack([reader.reason for arm in raters for reader in arm])
        reason = np.where((reasons == 0).all(axis=0), 0, np.where(reasons == 0, len(REASONS), reasons).min(axis=0))
        everyone = Rater("readers_mean", names[1], np.where(reason == 0, 0.0, np.nan), reason.astype(np.int8))
        part = entered(units, everyone)
        here = rows.of(units, everyone).over(units, part)
        here = here.having(analysis_set="determinate", covariate="arm", level=f"{names[1]} − {names[0]}")
        here = here.having(comparator_kind="readers_mean", comparator=names[0], family="arms")
        result = obuchowski_rockette(units.truth[part.rows], cube[..., part.rows], measure, units.subject[part.rows])
        yield here.comparison("roc_auc" if measure == "auc" else measure, result.comparison)


def session_rows(rows: Rows, reads: Reads, cohort: Units, excluded: np.ndarray) -> Iterator[Row]:
    """Agreement within a reader over the sessions of one arm."""
    nothing = np.zeros(len(cohort), dtype=bool)
    for arm in reads.arms():
        of_arm = reads.where(reads.arm == arm)
        for name in sorted(set(of_arm.reader.tolist())):
            own = of_arm.where(of_arm.reader == name)
            sessions = sorted(set(own.session.tolist()), key=session_order)
            for later in sessions[1:]:
                study = np.unique(own.study)
                first, second = (
                    reader_study(own.where(own.session == session), cohort, excluded, nothing, study)
                    for session in (sessions[0], later)
                )
                again = second.readers[0]
                comparator = Rater("session", f"session {later}", again.call, again.reason)
                here = rows.having(analysis_set="agreement", covariate="session", level=f"{sessions[0]}, {later}")
                yield from pair_rows(here, first.units, first.readers[0], comparator)
