"""Which runs continue which: a run and its parents are one lineage, and later results stand for earlier ones."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Generation:
    """A run's place in a lineage. `lineage` is the run id of its newest run; the oldest has generation 0."""

    lineage: str
    run_id: str
    generation: int
    n_generations: int


def all_lineages(parents: Mapping[str, str | None]) -> list[Generation]:
    """The lineage of every run that no other continues. `parents`: run id → parent's, None where it has none."""
    continued = set(parents.values())
    return [place for run_id in parents if run_id not in continued for place in lineage_of(run_id, parents)]


def lineage_of(run_id: str, parents: Mapping[str, str | None]) -> list[Generation]:
    """The run's own lineage, oldest first; a parent that the output does not hold ends it."""
    runs: list[str] = []
    current: str | None = run_id
    while current is not None and current not in runs:
        runs.append(current)
        current = parents.get(current)
    return [Generation(run_id, name, place, len(runs)) for place, name in enumerate(reversed(runs))]
