"""What agreement coefficients of three or more raters tell of the studies on which these disagree.

Percent agreement of a group is the mean over its pairs, and from the other coefficients and the raters' counts it
follows. So whoever reads it knows how often the pairs disagree in sum, and with counts that are published, more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diagchd_batch.exports.disclosure.cells import MAIN_SET, Row, Tables
from diagchd_batch.exports.disclosure.suppression import is_small

Raters = frozenset[tuple[str, str]]
"""A pair: kind and name of each."""

OpenPair = tuple[str | None, Raters]
"""With the model's operating point."""


@dataclass(frozen=True)
class PairOfRaters:
    """How often two raters disagree; `one_way` is by how many calls they differ at least, as their counts tell."""

    operating_point: str | None
    raters: Raters
    n_disagreements: int
    one_way: int

    @property
    def is_of_readers(self) -> bool:
        return all(kind == "reader" for kind, _ in self.raters)

    @property
    def hidden(self) -> int:
        """Disagreements to either side that balance each other: counts alone do not tell them."""
        return (self.n_disagreements - self.one_way) // 2


def groups_that_tell(tables: Tables, open_pairs: Iterable[OpenPair], min_cell: int) -> set[str]:
    """The groups (`readers`, `readers_and_model`) whose coefficients would tell a small group of studies.

    open_pairs: pairs whose cross table is published, so that their part of the sum is known.
    """
    pairs, opened = _pairs(tables), set(open_pairs)
    of_readers = [pair for pair in pairs if pair.is_of_readers]
    with_model = [
        pair for pair in pairs if not pair.is_of_readers and (pair.operating_point, pair.raters) not in opened
    ]
    telling = set()
    if _tell(of_readers, min_cell) or _unanimity_is_small(tables, of_readers, min_cell):
        telling |= {"readers", "readers_and_model"}
    if _tell(with_model, min_cell):  # less the agreement of the readers, and of the pairs that are open
        telling.add("readers_and_model")
    return telling


def _tell(pairs: Sequence[PairOfRaters], min_cell: int) -> bool:
    """Whether the sum of the pairs' disagreements is small, or leaves no doubt which studies make it up."""
    total = sum(pair.n_disagreements for pair in pairs)
    if total == 0:
        return False
    return len(pairs) == 1 or total < min_cell or sum(pair.hidden for pair in pairs) < min_cell


def _unanimity_is_small(tables: Tables, pairs: Sequence[PairOfRaters], min_cell: int) -> bool:
    """Whether few studies have none, one, two or three positive calls, which three readers' majority tells."""
    if len(pairs) != 3 or sum(pair.n_disagreements for pair in pairs) % 2:
        return False
    readers = {rater for pair in pairs for rater in pair.raters}
    counts = {kind: _positive_calls(tables, kind) for kind in ("reader", "majority")}
    if len(counts["reader"]) != len(readers) or not counts["majority"]:
        return False
    (of_majority, n), *_ = counts["majority"].values()
    calls = sum(called for called, _ in counts["reader"].values())
    divided = sum(pair.n_disagreements for pair in pairs) // 2
    two = (divided + 3 * of_majority - calls) // 2
    of_calls = (n - of_majority - (divided - two), divided - two, two, of_majority - two)
    return any(is_small(number, min_cell) for number in of_calls)


def _pairs(tables: Tables) -> list[PairOfRaters]:
    calls = {(kind, name): c for kind in ("reader", "model") for name, c in _calls(tables, kind).items()}
    found = {}
    for row in tables["estimates"]:
        if row["analysis_set"] != "agreement" or row["endpoint"] != "percent_agreement" or row["covariate"]:
            continue
        if row["comparator_kind"] != "reader" or row["value"] is None:
            continue
        first, second = (row["subject_kind"], row["subject"]), ("reader", row["comparator"])
        n_disagreements = round(row["n_units"] * (1 - row["value"]))
        one_way = 0
        if first in calls and second in calls:
            one_way = sum(abs(a - b) for a, b in zip(calls[first], calls[second], strict=True))
        pair = frozenset((first, second))
        found[pair] = PairOfRaters(row["operating_point"], pair, n_disagreements, min(one_way, n_disagreements))
    return list(found.values())


def _calls(tables: Tables, kind: str) -> dict[str, tuple[int, int]]:
    """Positive calls among the diseased and among the healthy, by rater; of the model at the headline's threshold."""
    found: dict[str, dict[str, int]] = {}
    for row in _counts(tables, kind):
        if row["endpoint"] in ("tp", "fp") and (kind != "model" or row["headline"]):
            found.setdefault(row["subject"], {})[row["endpoint"]] = int(row["value"])
    return {name: (counts["tp"], counts["fp"]) for name, counts in found.items() if len(counts) == 2}


def _positive_calls(tables: Tables, kind: str) -> dict[str, tuple[int, int]]:
    """Positive calls and units, by rater."""
    units = {row["subject"]: int(row["n_units"]) for row in _counts(tables, kind)}
    return {name: (sum(calls), units[name]) for name, calls in _calls(tables, kind).items()}


def _counts(tables: Tables, kind: str) -> list[Row]:
    return [
        row
        for row in tables["estimates"]
        if row["subject_kind"] == kind
        and row["analysis_set"] == MAIN_SET
        and row["unit"] == "study"
        and row["covariate"] is None
        and row["endpoint"] in ("tp", "fp")
        and row["value"] is not None
    ]
