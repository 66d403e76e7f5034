"""Thins curves and merges calibration bins, so that no small group lies between any two published figures.

A point of a ROC curve, an edge of a calibration bin and an operating point all say how many diseased and healthy units
score above some threshold. The units by which two of them differ are a group, which has to be empty or large.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from diagchd_batch.exports.disclosure.publishable_rows import Publication
from diagchd_batch.exports.disclosure.suppression import Counts, is_small
from diagchd_batch.exports.disclosure.table_counts import CALLS, Row, Tables, call_cell, total_cell
from diagchd_batch.statistics.classification.proportions import proportion

_ROUNDING = 1e-6


@dataclass
class Cuts:
    """Numbers of units above thresholds, of the diseased or of the healthy.

    Attributes:
        min_cell: Groups from 1 to below this number are small.
        published: Numbers that are published.
        near: Withheld numbers, which published ones must keep away from.
    """

    min_cell: int
    published: list[int]
    near: list[int] = field(default_factory=list)

    def fits(self, n_above: int) -> bool:
        """Return whether this number can be published, too, without revealing a small group."""
        differences = (abs(n_above - other) for other in self.published)
        return not any(is_small(d, self.min_cell) for d in differences) and all(
            abs(n_above - other) >= self.min_cell for other in self.near
        )


@dataclass
class ScoreCuts:
    """The cuts of one rater's score.

    Attributes:
        n_positive: Number of diseased units.
        n_negative: Number of healthy units.
        positive: Cuts among the diseased.
        negative: Cuts among the healthy.
    """

    n_positive: int
    n_negative: int
    positive: Cuts
    negative: Cuts

    def admit(self, tp: int, fp: int) -> bool:
        """Return whether both numbers can be published. If so, they count as published from now on.

        Args:
            tp: Number of diseased units above a threshold.
            fp: Number of healthy units above it.
        """
        if not (self.positive.fits(tp) and self.negative.fits(fp)):
            return False
        self.positive.published.append(tp)
        self.negative.published.append(fp)
        return True


class RaterScoreCuts:
    """The cuts of all raters. They begin with what the calls at operating points publish."""

    def __init__(self, tables: Tables, counts: Counts, publication: Publication, min_cell: int) -> None:
        self._counts, self._publication, self._min_cell = counts, publication, min_cell
        self._points: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in tables["estimates"]:
            if row["endpoint"] == "tp" and row["covariate"] is None and row["analysis_set"] == "determinate":
                self._points[row["unit"], row["subject_kind"], row["subject"]].append(row)
        self._made: dict[tuple[Any, ...], ScoreCuts | None] = {}

    def of(self, unit: str, kind: str, subject: str) -> ScoreCuts | None:
        """Return a rater's cuts, or None if the rater's totals are withheld.

        Args:
            unit: `study` or `image`.
            kind: The rater's kind.
            subject: The rater's name.
        """
        key = (unit, kind, subject)
        if key not in self._made:
            self._made[key] = self._make(self._points.get(key, []))
        return self._made[key]

    def _make(self, points: Sequence[Row]) -> ScoreCuts | None:
        if not points:
            return None
        n_positive, n_negative = (
            self._publication.value(total_cell(points[0], name)) for name in ("n_positive", "n_negative")
        )
        if not n_positive or not n_negative:
            return None
        positive, negative = Cuts(self._min_cell, [0, n_positive]), Cuts(self._min_cell, [0, n_negative])
        for row in points:
            for name, cuts in zip(CALLS, (positive, positive, negative, negative), strict=True):
                n_above = self._counts.values[call_cell(row, {"fn": "tp", "tn": "fp"}.get(name, name))]
                shown = self._publication.is_public(call_cell(row, name))
                (cuts.published if shown else cuts.near).append(n_above)
        return ScoreCuts(n_positive, n_negative, positive, negative)


def merged_calibration(rows: Sequence[Row], raters: RaterScoreCuts) -> list[dict[str, Any]]:
    """Merge neighbouring bins until each holds no or many diseased and no or many healthy units.

    The interval of merged bins is lost if subjects have several units, because it would need the single units. Bins of
    calibrated scores are left out, because they are the same units cut at other places.

    Args:
        rows: Rows of `calibration`.
        raters: The cuts, to which the bins' edges are added.

    Returns:
        Rows of `calibration` that may be published.
    """
    tables: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in sorted((row for row in rows if not row.get("calibrated")), key=lambda row: row["bin"]):
        tables[row["unit"], row["subject"], row["bins"]].append(row)
    merged = []
    for (unit, subject, _), bins in tables.items():
        cuts = raters.of(unit, "model", subject)
        if cuts and cuts.n_positive == sum(b["n_positive"] for b in bins):
            merged += list(_merged_bins(bins, cuts))
    return merged


def _merged_bins(bins: Sequence[Row], cuts: ScoreCuts) -> Iterator[dict[str, Any]]:
    held: list[Row] = []
    tp, fp = cuts.n_positive, cuts.n_negative
    for place, one in enumerate(bins):
        held.append(one)
        tp -= one["n_positive"]
        fp -= one["n"] - one["n_positive"]
        if place == len(bins) - 1 or cuts.admit(tp, fp):
            is_plain = len(held) == 1 and held[0]["ci_method"] in (None, "wilson")
            yield dict(held[0]) if is_plain else _merge(held)
            held = []


def _merge(bins: Sequence[Row]) -> dict[str, Any]:
    n, n_positive = sum(b["n"] for b in bins), sum(b["n_positive"] for b in bins)
    methods = {b["ci_method"] for b in bins if b["ci_method"]}
    plain = proportion(n_positive, n) if methods <= {"wilson"} else None
    return {
        **bins[0],
        "score_high": bins[-1]["score_high"],
        "n": n,
        "n_positive": n_positive,
        "mean_score": sum(b["mean_score"] * b["n"] for b in bins if b["n"]) / n if n else None,
        "observed": n_positive / n if n else None,
        "ci_low": plain.low if plain else None,
        "ci_high": plain.high if plain else None,
        "ci_method": plain.method if plain else None,
        "null_reason": None if plain else "merged",
    }


def thinned_curves(rows: Sequence[Row], raters: RaterScoreCuts) -> list[dict[str, Any]]:
    """Select the points of ROC curves that may be published, and derive precision-recall curves from them.

    Thresholds are left out, because they are the scores of single units. Decision curves and reweighted
    curves are left out, because each of their points mixes two counts that can be small.

    Args:
        rows: Rows of `curves`.
        raters: The cuts, to which the points are added.

    Returns:
        Rows of `curves` that may be published.
    """
    curves: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["curve"] == "roc" and (row["threshold"] is not None or not row["point"]):  # no means over folds
            curves[row["unit"], row["subject_kind"], row["subject"]].append(row)
    thinned = []
    for key, points in curves.items():
        cuts = raters.of(*key)
        if cuts:
            thinned += list(_thinned(sorted(points, key=lambda row: row["point"]), cuts))
    return thinned


def _thinned(points: Sequence[Row], cuts: ScoreCuts) -> Iterator[dict[str, Any]]:
    above = [(row["y"] * cuts.n_positive, row["x"] * cuts.n_negative) for row in points]
    if any(abs(number - round(number)) > _ROUNDING for pair in above for number in pair):
        return  # the scores are of other units than the calls
    # `admit` begins with the edges of what is published already, so that these stay points of the curve.
    kept = [(round(tp), round(fp)) for tp, fp in above if cuts.admit(round(tp), round(fp))]
    common = {name: points[0][name] for name in ("unit", "subject_kind", "subject")}
    for place, (tp, fp) in enumerate(kept):
        x, y = fp / cuts.n_negative, tp / cuts.n_positive
        yield {**common, "curve": "roc", "point": place, "x": x, "y": y, "definition": points[0]["definition"]}
    for place, (tp, fp) in enumerate(pair for pair in kept if sum(pair)):
        words = "x sensitivity, y PPV"
        row = {"curve": "precision_recall", "point": place, "x": tp / cuts.n_positive, "y": tp / (tp + fp)}
        yield {**common, **row, "definition": words}
