"""Compares predictions with the score files that they were derived from, shard by shard, while both are read."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.results.datasets import predictions_keys, read_predictions
from diagchd_batch.results.verify.findings import REMEDIES, Problem, ProblemKind
from diagchd_batch.storage import Store

_COMPARED = [name for name in PREDICTIONS.names if name != "shard"]
_SHOWN = 5
_KIND = ProblemKind.PREDICTIONS_DIFFER


class PredictionsCheck:
    """Takes a finished run's shards in ascending order. Both methods return the problems that they find."""

    def __init__(self, storage: Store, run_id: str, *, plans_images: bool = True) -> None:
        """A run that only corrects labels or exclusions plans no image (`plans_images`) and has no predictions."""
        self._place = f"predictions of run {run_id}"
        self._problems: list[Problem] = []
        self._groups = _by_shard(storage, run_id)
        self._next: tuple[int, pa.Table] | None = None
        self._readable = bool(predictions_keys(storage, run_id))
        if plans_images and not self._readable:
            self._note(self._place, "there are none although the run is finished")
        self._advance()

    def compare(self, shard: int, rows: pa.Table | None) -> list[Problem]:
        """Compare the predictions of a shard.

        Args:
            shard: The shard's number, greater than that of the call before.
            rows: The shard's rows without masks, or None where its file cannot be read and nothing can be compared.

        Returns:
            The problems that were found up to this shard.
        """
        self._pass_surplus(before=shard)
        predicted = None
        if self._next is not None and self._next[0] == shard:
            predicted = self._next[1]
            self._advance()
        if rows is not None and self._readable:
            difference = _difference(rows, predicted)
            if difference is not None:
                self._note(f"predictions of shard {shard}", difference)
        return self._drain()

    def finish(self) -> list[Problem]:
        """Return the remaining problems. Call it after the last shard."""
        self._pass_surplus(before=None)
        return self._drain()

    def _pass_surplus(self, before: int | None) -> None:
        while self._next is not None and (before is None or self._next[0] < before):
            self._note(f"predictions of shard {self._next[0]}", "rows twice, out of order, or of a shard not committed")
            self._advance()

    def _advance(self) -> None:
        if not self._readable:
            return
        try:
            self._next = next(self._groups, None)
        except (OSError, pa.ArrowException) as error:
            self._readable, self._next = False, None
            self._note(self._place, f"they cannot be read: {error}")

    def _note(self, place: str, detail: str) -> None:
        self._problems.append(Problem(_KIND, place, detail, REMEDIES[_KIND]))

    def _drain(self) -> list[Problem]:
        problems, self._problems = self._problems, []
        return problems


def _by_shard(storage: Store, run_id: str) -> Iterator[tuple[int, pa.Table]]:
    """Return consecutive rows of the same shard together."""
    held: list[pa.Table] = []
    current = -1
    predictions = read_predictions(storage, run_id)
    for batch in predictions.scanner(columns=PREDICTIONS.names, batch_readahead=2, fragment_readahead=1).to_batches():
        rows = pa.Table.from_batches([batch])
        ends = pc.run_end_encode(rows["shard"].combine_chunks())
        start = 0
        for shard, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
            if shard != current and held:
                yield current, pa.concat_tables(held)
                held = []
            current = shard
            held.append(rows.slice(start, end - start).select(_COMPARED))
            start = end
    if held:
        yield current, pa.concat_tables(held)


def _difference(rows: pa.Table, predicted: pa.Table | None) -> str | None:
    """Return how the predictions differ from the score file's rows, or None where they are equal."""
    n_predicted = 0 if predicted is None else predicted.num_rows
    if n_predicted != rows.num_rows:
        return f"they have {n_predicted} rows of this shard, its score file {rows.num_rows}"
    if predicted is None:
        return None
    rows, predicted = (table.select(_COMPARED).combine_chunks() for table in (rows, predicted))
    if rows.equals(predicted):
        return None
    # Not-a-number is unequal to itself, so the values are compared as text.
    differing = [
        scored["image_id"]
        for scored, derived in zip(rows.to_pylist(), predicted.to_pylist(), strict=True)
        if repr(scored) != repr(derived)
    ]
    if not differing:
        return None
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return f"they differ from the score file for image {', '.join(differing[:_SHOWN])}{more}"
