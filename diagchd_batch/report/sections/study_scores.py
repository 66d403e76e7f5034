"""The section on what came out: how many studies were scored and called, how the scores lie, and which are highest."""

from collections.abc import Iterator

from diagchd_batch.report.elements import Figure, Section, Table, Tile
from diagchd_batch.report.figures.histogram import histogram
from diagchd_batch.report.formatting import NONE, count, counted, number
from diagchd_batch.report.report_data import ReportData
from diagchd_batch.report.score_summary import N_BINS, Changes, StudyScores

TITLE = "Scores"


def study_scores(data: ReportData) -> Section:
    """Return the section on the studies' scores, which needs no labels."""
    found = data.study_scores
    if found is None or not found.n_studies:
        return Section("scores", TITLE, left_out=["no study was planned"])
    if not found.n_scored:
        return Section("scores", TITLE, tiles=list(_tiles(data, found)), left_out=["no study has a score"])
    threshold = data.threshold
    caption = (
        f"Scores of {counted(found.n_scored, 'study')} in {N_BINS} bins of equal width. A score is no probability of "
        "disease unless the model is calibrated for this archive."
    )
    counts = "; ".join(
        f"{place / N_BINS:g} to {(place + 1) / N_BINS:g}: {n:,}" for place, n in enumerate(found.histogram) if n
    )
    figure = Figure(
        "Distribution of the scores",
        caption,
        histogram("Distribution of the scores", found.histogram, f"{caption} {counts}.", threshold),
        wide=True,
    )
    tables = [_highest(found, folded=bool(data.tables["worst_cases"]))]
    if found.changes is not None:
        tables += _changed_calls(found.changes)
    return Section(
        "scores",
        TITLE,
        [*_changes(found.changes)] if found.changes else [],
        tiles=list(_tiles(data, found)),
        figures=[figure],
        tables=tables,
    )


def _tiles(data: ReportData, found: StudyScores) -> Iterator[Tile]:
    share = f"{100 * found.n_called / found.n_scored:.1f} % of the scored studies" if found.n_scored else ""
    yield Tile("studies with a score", count(found.n_scored), f"of {counted(found.n_studies, 'study')}")
    if found.n_scored:
        yield Tile("called CHD", count(found.n_called), share)
        yield Tile("flagged", count(found.n_flagged), "scored studies with a frame that has a quality flag")
    counts = data.record.counts
    if counts is not None:
        of_run = " in this run" if data.record.parent_run_id else ""
        yield Tile("failed frames", count(counts.n_failed), f"of {counted(counts.n_rows, 'frame')}{of_run}")


def _highest(found: StudyScores, *, folded: bool) -> Table:
    n = len(found.highest)
    caption = "The studies with the highest scores" if n < found.n_scored else "The studies by score"
    return Table(
        f"{caption}, by token ({n} of {found.n_scored:,}); the worklist in the private tree has the original ids",
        ("", "study", "score", "called", "height × width", "flagged frames"),
        [
            (
                str(place),
                row["study_id"],
                number(row["score"]),
                row["call"] or NONE,
                row["source_resolution"] or NONE,
                count(row["n_frames_flagged"]),
            )
            for place, row in enumerate(found.highest, start=1)
        ],
        folded=folded,
        unbroken=True,
    )


def _changes(changes: Changes) -> Iterator[str]:
    yield (
        f"This run continues {changes.parent_run_id}. Since then: {counted(changes.n_new, 'study', 'new')}, "
        f"{count(changes.n_now_scored)} scored that had no score before, {count(changes.n_scores)} with another score, "
        f"{count(changes.n_calls)} with another call."
    )


def _changed_calls(changes: Changes) -> list[Table]:
    if not changes.calls:
        return []
    shown = f" (the first {len(changes.calls)} of {changes.n_calls:,})" if len(changes.calls) < changes.n_calls else ""
    rows = [
        (
            row["study_id"],
            number(row["first_score"]),
            number(row["second_score"]),
            row["first_call"],
            row["second_call"],
        )
        for row in changes.calls
    ]
    columns = ("study", "score before", "score now", "call before", "call now")
    return [Table(f"Calls that changed since {changes.parent_run_id}{shown}", columns, rows, unbroken=True)]
