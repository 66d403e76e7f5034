"""Plays the attackers of shareable exports on many random cohorts, and names every small count that they recover.

    python -m tools.attack_exports [--cohorts 200] [--first 0]

The attacks are those of the tests in tests/unit/exports, which run them on fewer cohorts: figures that are no counts,
two successive exports of a cohort that has grown, and names that clash or look alike. The exit code is 1 if a count
was recovered.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.unit.exports import test_figures_reveal_no_count as figures
from tests.unit.exports import test_name_clashes as name_clashes
from tests.unit.exports import test_successive_exports as successive_exports


def recovered_from_figures(seed: int) -> list[str]:
    """Return the counts that follow from figures of one cohort."""
    found, _ = figures.found_in(range(seed, seed + 1))
    return [f"{seed} {name}: {count}" for name, count in found]


def recovered_from_two_exports(seed: int) -> list[str]:
    """Return the counts that follow from two exports of one cohort."""
    return list(successive_exports.recovered(seed, remembers=True))


def recovered_where_names_clash(seed: int) -> list[str]:
    """Return the counts that follow in one cohort with clashing names. Names that are refused reveal none."""
    with tempfile.TemporaryDirectory() as directory:
        kind, found = name_clashes.outcome_of(seed, Path(directory))
    return [f"{seed} {kind}: {count}" for count in found or []]


ATTACKS: dict[str, Callable[[int], list[str]]] = {
    "figures": recovered_from_figures,
    "two exports": recovered_from_two_exports,
    "clashing names": recovered_where_names_clash,
}


def attack(seeds: range) -> Iterator[tuple[str, list[str], float]]:
    """Yield each attack's name, what it recovered from the cohorts of `seeds`, and its duration in seconds."""
    for name, recover in ATTACKS.items():
        began_s = time.monotonic()
        yield name, [count for seed in seeds for count in recover(seed)], time.monotonic() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200, help="number of random cohorts (default 200)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first cohort (default 0)")
    arguments = parser.parse_args()
    n_found = 0
    for name, found, duration_s in attack(range(arguments.first, arguments.first + arguments.cohorts)):
        print(f"{name}: {arguments.cohorts:,} cohorts, {len(found):,} small counts recovered, {duration_s:.0f} s")
        for count in found:
            print(f"  {count}")
        n_found += len(found)
    sys.exit(1 if n_found else 0)


if __name__ == "__main__":
    main()
