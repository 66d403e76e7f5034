"""Rows of the tables that compare two runs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS
from diagchd_batch.evaluation.comparison.mask_pairs import MaskPairs
from diagchd_batch.evaluation.performance.accuracy import comparison_rows, scored_by
from diagchd_batch.evaluation.readers.agreement import pair_rows
from diagchd_batch.evaluation.subgroups.covariates import Covariate
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import Rater, Units, entered
from diagchd_batch.results.columns import CLASSES
from diagchd_batch.statistics.classification import delong_paired
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.resampling import subject_interval, totals_by_subject
from diagchd_batch.statistics.segmentation import dice, distribution, mean_of_studies, pooled_dice

MASK_CLASSES = {**{name: (place,) for place, name in enumerate(CLASSES)}, "whole_heart": (1, 2)}
WORST_MASKS = 20


def paired_rows(rows: Rows, units: Units, second: Rater, first: Rater, *, has_reference: bool) -> Iterator[Row]:
    """Paired tests of second − first against the reference standard, and agreement of the two runs' calls."""
    if has_reference:
        # Scores have no operating point: their comparison is made once, by `score_test_row`.
        yield from comparison_rows(rows, units, replace(second, score=None), replace(first, score=None), headline=False)
    yield from pair_rows(rows.having(analysis_set="agreement"), units, second, first)


def score_test_row(rows: Rows, units: Units, second: Rater, first: Rater) -> Row:
    """AUC of the second − AUC of the first run."""
    scored = scored_by(second), scored_by(first)
    part = entered(units, *scored)
    here = rows.of(units, second, first).over(units, part).having(analysis_set="determinate")
    new, old = (rater.scores[part.rows] for rater in scored)
    return here.comparison("roc_auc", delong_paired(units.truth[part.rows], new, old, units.subject[part.rows]))


def drift_rows(
    rows: Rows, units: Units, second: Rater, first: Rater, covariates: Sequence[Covariate], point: str
) -> Iterator[Row]:
    """How far scores moved: over all studies scored by both, and by level of each covariate."""
    yield _drift_row(rows, units, second, first, point)
    for covariate in covariates:
        for code, level in enumerate(covariate.levels):
            inside = covariate.code == code
            if inside.any():
                row = _drift_row(rows, units.take(inside), second.take(inside), first.take(inside), point)
                yield {**row, "covariate": covariate.name, "level": level}


def _drift_row(rows: Rows, units: Units, second: Rater, first: Rater, point: str) -> Row:
    both = (second.reason == 0) & (first.reason == 0)
    subject, scores = units.take(both).subject, (first.scores[both], second.scores[both])
    difference = scores[1] - scores[0]
    n = len(difference)
    totals = totals_by_subject(np.stack([difference, np.ones(n)], axis=1), subject)
    mean = subject_interval(totals, lambda sums: sums[..., 0] / sums[..., 1], n=n, **rows.settings.bootstrap)
    return {
        "operating_point": point,
        "n_units": n,
        "n_subjects": len(totals),
        "first_mean": float(scores[0].mean()) if n else None,
        "second_mean": float(scores[1].mean()) if n else None,
        "mean_difference": mean.value,
        "ci_low": mean.low,
        "ci_high": mean.high,
        "ci_method": mean.method,
        "null_reason": None if mean.null_reason is None else str(mean.null_reason),
        "sd_difference": float(difference.std(ddof=1)) if n > 1 else None,
        "largest_difference": float(np.abs(difference).max()) if n else None,
        "n_flips": int(np.sum(first.call[both] != second.call[both])),
        "resamples": mean.resamples,
        "seed": rows.settings.seed if mean.resamples else None,
        "definition": DEFINITIONS["drift"],
    }


def mask_rows(
    rows: Rows, pairs: MaskPairs, study: np.ndarray, subject: np.ndarray, runs: tuple[str, str]
) -> Iterator[Row]:
    """Dice between the two runs' masks by class, and the share of pixels that did not change.

    study, subject: whole numbers, one a frame of `pairs`; runs: second, first.
    """
    n = len(study)
    here = rows.having(unit="image", cluster="subject", analysis_set="both_masks", n_subjects=len(np.unique(subject)))
    here = here.having(subject_kind="model", subject=runs[0], comparator_kind="run", comparator=runs[1])
    options = rows.settings.bootstrap
    for name, classes in MASK_CLASSES.items():
        counts = pairs.pixel_counts(classes)
        values = dice(counts)
        shown = distribution(values)
        left_out = {"n_excluded": shown.n_undefined} | (
            {"excluded_reasons": f"both_empty={shown.n_undefined}"} if shown.n_undefined else {}
        )
        of_class = here.having(class_=name, n_units=shown.n, **left_out)
        mean = mean_of_studies(values, None, subject, **options)
        yield of_class.estimate("mask_dice_mean", mean)
        of_studies = of_class.having(unit="study", n_units=mean_n(values, study))
        yield of_studies.estimate("mask_dice_of_study_means", mean_of_studies(values, study, subject, **options))
        yield of_class.estimate("mask_dice_pooled", pooled_dice(counts, subject, **options))
        for endpoint, value in (("minimum", shown.minimum), ("q1", shown.quartile_1), ("median", shown.median)):
            reason = "no_units" if value is None else "description"
            described = Estimate(value, None, None, None, shown.n)
            yield of_class.estimate(f"mask_dice_{endpoint}", described, null_reason=reason)
    same = np.stack([np.trace(pairs.counts, axis1=1, axis2=2), pairs.counts.sum(axis=(1, 2))], axis=1)
    _, codes = np.unique(subject, return_inverse=True)
    share = subject_interval(
        totals_by_subject(same.astype(np.float64), codes), lambda sums: sums[..., 0] / sums[..., 1], n=n, **options
    )
    yield here.having(n_units=n, n_excluded=0).estimate("pixel_agreement", share)


def mean_n(values: np.ndarray, study: np.ndarray) -> int:
    """Studies with at least one value."""
    return len(np.unique(study[~np.isnan(values)]))


def mask_case_rows(pairs: MaskPairs) -> Iterator[Row]:
    """The frames whose masks differ most, by the Dice of septum and heart together."""
    values = dice(pairs.pixel_counts(MASK_CLASSES["whole_heart"]))
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.lexsort((pairs.frame[known], pairs.image_id[known], values[known]))][:WORST_MASKS]
    for rank, place in enumerate(order, start=1):
        yield {
            "rank": rank,
            "study_id": pairs.study_id[place].decode(),
            "image_id": pairs.image_id[place].decode(),
            "frame": int(pairs.frame[place]),
            "foreground_dice": float(values[place]),
            "changed_px": int(pairs.changed_px[place]),
        }
