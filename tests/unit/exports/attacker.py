"""An attacker who has only the shared files, and tries to work out what they withhold.

The attacker knows what the columns mean, that counts are not negative, that levels, groups and calls divide the
studies, and that published figures are rounded. How the counts to withhold were chosen is unknown to the attacker.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linprog

Row = Mapping[str, Any]
Terms = dict[Hashable, float]

CALLS = {"tp": ("positive", "positive"), "fn": ("positive", "negative")}
CALLS |= {"fp": ("negative", "positive"), "tn": ("negative", "negative")}
RATES = {
    "sensitivity": (("tp",), ("tp", "fn")),
    "specificity": (("tn",), ("tn", "fp")),
    "ppv": (("tp",), ("tp", "fp")),
    "npv": (("tn",), ("tn", "fn")),
    "accuracy": (("tp", "tn"), ("tp", "fn", "fp", "tn")),
    "prevalence": (("tp", "fn"), ("tp", "fn", "fp", "tn")),
}
STRICTER = "model, stricter"
"""The model at a second, higher threshold, which the tables call the operating point `stricter`."""
STEPS = ("excluded", "not_scored", "failed", "without_reference", "analysed")


def extremes(
    aim: np.ndarray, equal: Sequence[np.ndarray], known: Sequence[float], at_most: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return the least and the greatest value of a linear function of non-negative unknowns.

    Args:
        aim: The function's coefficients, one for each unknown.
        equal: Coefficients of each sum that is known.
        known: The values of these sums.
        at_most: Coefficients of each sum that is at most zero.
    """
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * aim,
            A_eq=np.array(equal).reshape(-1, len(aim)),
            b_eq=known,
            A_ub=np.array(at_most) if at_most else None,
            b_ub=np.zeros(len(at_most)) if at_most else None,
            bounds=(0, 1e5),
        )
        assert found.x is not None, found.message
        ends.append(sign * found.fun)
    return ends[0], ends[1]


class Attacker:
    """Bounds unknown counts by linear programming.

    Unknowns are named ("call", rater, covariate, level, call), ("left out", rater, covariate, level, label),
    ("without", covariate, level), ("between", …) and ("step", name).

    Args:
        shared: The shared tables.
        levels: The levels of each covariate, which divide the studies.
        raters: The readers, as the tables name them.
        stricter: The operating point that the attacker knows as `STRICTER`.
    """

    def __init__(
        self,
        shared: Mapping[str, Sequence[Row]],
        levels: Mapping[str, Sequence[str]],
        raters: Sequence[str],
        stricter: str = "stricter",
    ) -> None:
        self._unknowns: dict[Hashable, int] = {}
        self._equal: list[tuple[Terms, float]] = []
        self._at_most: list[Terms] = []
        self._levels = {None: [None], **levels}
        self._raters = raters
        self._stricter = stricter
        self._add_structure()
        for row in shared["estimates"]:
            if row["analysis_set"] == "determinate" and row["unit"] == "study":
                self._add_estimate(row)
        for row in shared["cohort_characteristics"]:
            if row["statistic"] == "n":
                covariate = None if row["variable"] == "studies" else row["variable"]
                self._know(self.described(covariate, row["level"], row["group"]), row["value"])
        for row in shared["flow"]:
            if row["n_studies"] is not None:
                step = [("step", s) for s in STEPS] if row["name"] == "planned" else [("step", row["name"])]
                self._know(dict.fromkeys(step, 1.0), row["n_studies"])

    def described(self, covariate: str | None, level: str | None, group: str) -> Terms:
        """Return the studies of a group: those with a call of the model, and those that failed."""
        groups = ("positive", "negative", "without_reference") if group == "all" else (group,)
        cells: list[Hashable] = []
        for one in groups:
            if one == "without_reference":
                cells.append(("without", covariate, level))
            else:
                cells += self._of_label("model", covariate, level, one)
                cells.append(("left out", "model", covariate, level, one))
        return dict.fromkeys(cells, 1.0)

    def bounds(self, wanted: Terms) -> tuple[float, float]:
        """Return the least and the greatest value of a count that the shared files allow."""
        return extremes(
            self._vector(wanted),
            [self._vector(terms) for terms, _ in self._equal],
            [value for _, value in self._equal],
            [self._vector(terms) for terms in self._at_most],
        )

    def _vector(self, terms: Terms) -> np.ndarray:
        vector = np.zeros(len(self._unknowns))
        for name, factor in terms.items():
            vector[self._unknowns[name]] += factor
        return vector

    def _know(self, terms: Terms, value: float) -> None:
        for name in terms:
            self._unknowns.setdefault(name, len(self._unknowns))
        self._equal.append((terms, float(value)))

    def _same(self, first: Mapping[Any, float], second: Mapping[Any, float]) -> None:
        names = dict.fromkeys([*first, *second])
        self._know({name: first.get(name, 0) - second.get(name, 0) for name in names}, 0)

    def _of_label(self, rater: str, covariate: str | None, level: str | None, label: str) -> list[Hashable]:
        return [("call", rater, covariate, level, name) for name, (of, _) in CALLS.items() if of == label]

    def _add_structure(self) -> None:
        for covariate, levels in self._levels.items():
            for model in ("model", STRICTER):
                for name in CALLS:
                    parts = dict.fromkeys((("call", model, covariate, level, name) for level in levels), 1.0)
                    self._same({("call", model, None, None, name): 1.0}, parts)
            for level in levels:
                for called, other in (("tp", "fn"), ("fp", "tn")):  # positive at the higher threshold implies both
                    cells = [("call", "model", covariate, level, called), ("call", STRICTER, covariate, level, called)]
                    between = {("between", STRICTER, covariate, level, called): 1.0}
                    self._same({cells[0]: 1.0}, {cells[1]: 1.0} | between)
                    cells = [("call", STRICTER, covariate, level, other), ("call", "model", covariate, level, other)]
                    self._same({cells[0]: 1.0}, {cells[1]: 1.0} | between)
            for label in ("positive", "negative"):
                parts = dict.fromkeys((("left out", "model", covariate, level, label) for level in levels), 1.0)
                self._same({("left out", "model", None, None, label): 1.0}, parts)
            parts = dict.fromkeys((("without", covariate, level) for level in levels), 1.0)
            self._same({("without", None, None): 1.0}, parts)
        for rater in self._raters:  # Each rater read each described study or left it out.
            for label in ("positive", "negative"):
                own = dict.fromkeys(self._of_label(rater, None, None, label), 1.0)
                self._same(own | {("left out", rater, None, None, label): 1.0}, self.described(None, None, label))
        analysed = dict.fromkeys((("call", "model", None, None, name) for name in CALLS), 1.0)
        self._same({("step", "analysed"): 1.0}, analysed)
        self._same({("step", "without_reference"): 1.0}, {("without", None, None): 1.0})
        failed = {("left out", "model", None, None, label): 1.0 for label in ("positive", "negative")}
        self._same({("step", "failed"): 1.0}, failed)
        self._know({("step", step): 0.0 for step in STEPS}, 0)

    def _add_estimate(self, row: Row) -> None:
        is_model = row["subject_kind"] == "model"
        rater = (STRICTER if row["operating_point"] == self._stricter else "model") if is_model else row["subject"]
        known = row["covariate"] in self._levels and (is_model or row["covariate"] is None)
        if row["subject_kind"] == "readers_mean" or not known or row["level"] not in self._levels[row["covariate"]]:
            return
        cells = {name: ("call", rater, row["covariate"], row["level"], name) for name in CALLS}
        totals = {"n_positive": ("tp", "fn"), "n_negative": ("fp", "tn"), "n_units": tuple(CALLS)}
        for column, names in totals.items():
            if row[column] is not None:
                self._know({cells[name]: 1.0 for name in names}, row[column])
        if row["endpoint"] in CALLS:
            self._know({cells[row["endpoint"]]: 1.0}, row["value"])
        if row["endpoint"] in RATES and row["value"] is not None:
            above, below = RATES[row["endpoint"]]
            for sign in (1, -1):  # the rate is within its rounding
                bound = row["value"] + sign * 6e-5
                self._at_most.append({cells[n]: sign * ((n in above) - bound) for n in below})
        for column, names in (("numerator", RATES), ("denominator", RATES)):
            if row["endpoint"] in names and row[column] is not None:
                part = RATES[row["endpoint"]][column == "denominator"]
                if float(row[column]).is_integer():
                    self._know({cells[name]: 1.0 for name in part}, row[column])
