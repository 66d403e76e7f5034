"""What agreement coefficients of three or more raters reveal of the studies on which these disagree.

The percent agreement of a group is the mean over its pairs, and it follows from the other coefficients and the raters'
counts. So a reader of the tables knows the sum of the pairs' disagreements, and with published counts even more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diagchd_batch.exports.disclosure.suppression import is_small
from diagchd_batch.exports.disclosure.table_counts import MAIN_SET, Row, Tables

Raters = frozenset[tuple[str, str]]
"""A pair of raters: kind and name of each."""

OpenPair = tuple[str | None, Raters]
"""A pair with the model's operating point."""


@dataclass(frozen=True)
class PairOfRaters:
    """How often two raters disagree.

    Attributes:
        operating_point: The model's operating point, or None for two readers.
        raters: The pair.
        n_disagreements: Number of studies with different calls.
        one_way: The least number of disagreements that the raters' published counts reveal.
    """

    operating_point: str | None
    raters: Raters
    n_disagreements: int
    one_way: int

    @property
    def is_of_readers(self) -> bool:
        """Whether both raters are readers."""
        return all(kind == "reader" for kind, _ in self.raters)

    @property
    def hidden(self) -> int:
        """Disagreements that balance each other, so that counts do not reveal them."""
        return (self.n_disagreements - self.one_way) // 2


def disclosive_groups(tables: Tables, open_pairs: Iterable[OpenPair], min_cell: int) -> set[str]:
    """Return the groups (`readers`, `readers_and_model`) whose coefficients would reveal a small group of studies.

    Args:
        tables: The rows of `estimates`.
        open_pairs: Pairs whose cross table is published, so that their part of the sum is known.
        min_cell: Groups from 1 to below this number are small.
    """
    pairs, opened = _pairs(tables), set(open_pairs)
    of_readers = [pair for pair in pairs if pair.is_of_readers]
    with_model = [
        pair for pair in pairs if not pair.is_of_readers and (pair.operating_point, pair.raters) not in opened
    ]
    disclosive = set()
    if _is_disclosive(of_readers, min_cell) or _unanimity_is_small(tables, of_readers, min_cell):
        disclosive |= {"readers", "readers_and_model"}
    # The pairs with the model are what is left when the readers' agreement and the open pairs are subtracted.
    if _is_disclosive(with_model, min_cell):
        disclosive.add("readers_and_model")
    return disclosive


def _is_disclosive(pairs: Sequence[PairOfRaters], min_cell: int) -> bool:
    """Return whether the sum of the pairs' disagreements is small, or leaves no doubt which studies make it up."""
    total = sum(pair.n_disagreements for pair in pairs)
    if total == 0:
        return False
    return len(pairs) == 1 or total < min_cell or sum(pair.hidden for pair in pairs) < min_cell


def _unanimity_is_small(tables: Tables, pairs: Sequence[PairOfRaters], min_cell: int) -> bool:
    """Return whether few studies have 0, 1, 2 or 3 positive calls of three readers, which their majority reveals."""
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
    """Return rater → positive calls among the diseased and the healthy.

    The model counts at the headline's threshold.
    """
    found: dict[str, dict[str, int]] = {}
    for row in _counts(tables, kind):
        if row["endpoint"] in ("tp", "fp") and (kind != "model" or row["headline"]):
            found.setdefault(row["subject"], {})[row["endpoint"]] = int(row["value"])
    return {name: (counts["tp"], counts["fp"]) for name, counts in found.items() if len(counts) == 2}


def _positive_calls(tables: Tables, kind: str) -> dict[str, tuple[int, int]]:
    """Return rater → number of positive calls, number of units."""
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
