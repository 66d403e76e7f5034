"""The section that compares this run with earlier runs over the same studies."""

from diagchd_batch.report.elements import Figure, Section, Table
from diagchd_batch.report.figures.curves import scores_plot
from diagchd_batch.report.formatting import NONE, count, counted, interval, number, signed, words
from diagchd_batch.report.measure_tables import Measure, comparison_cell, measure_table
from diagchd_batch.report.report_data import ReportData, Row, matching
from diagchd_batch.report.sections.headline import RATES

_SHOWN = 20
_AGREEMENT: tuple[Measure, ...] = (
    ("percent_agreement", "equal calls"),
    ("cohen_kappa", "Cohen's kappa"),
    ("gwet_ac1", "Gwet's AC1"),
)
_MASKS: tuple[Measure, ...] = (
    ("mask_dice_mean", "mean Dice"),
    ("mask_dice_pooled", "pooled Dice"),
    ("mask_dice_minimum", "least Dice"),
    ("mask_dice_q1", "lower quartile"),
    ("mask_dice_median", "median"),
    ("pixel_agreement", "equal pixels"),
)


def comparison(data: ReportData) -> Section:
    """Return the section on differences from earlier runs."""
    if not data.comparisons:
        reason = "this run was not compared with another one; the command `compare` does so"
        return Section("comparison", "Earlier runs", left_out=[reason])
    tables, left_out, figures = [], [], []
    introduction = "Differences are this run − the earlier one, on the studies that both scored."
    if len(data.comparisons) == 1:  # captions need not repeat its id
        introduction += f" The earlier run is {next(iter(data.comparisons))}."
    for other, found in data.comparisons.items():
        name = other if len(data.comparisons) > 1 else "the earlier run"
        shown, missing = _against(name, found)
        tables += shown
        left_out += missing
        figures += _scores(data, other, name)
    return Section(
        "comparison",
        "Earlier runs",
        [introduction],
        figures=figures,
        tables=tables,
        left_out=left_out,
    )


def _scores(data: ReportData, other: str, name: str) -> list[Figure]:
    """Return the figure of this run's scores against those of an earlier run."""
    pairs = data.scores_of_both[other]
    if not pairs:
        return []
    n = sum(pair.n for pair in pairs)
    threshold = "" if data.threshold is None else f" Straight lines mark the threshold, {data.threshold:g}."
    caption = (
        f"Scores of {counted(n, 'study')} in this run against those in {name}. A larger mark stands for several "
        f"studies. The diagonal marks equal scores.{threshold}"
    )
    title = f"Scores against those of {name}"
    return [Figure(title, caption, scores_plot(title, pairs, data.threshold, caption))]


def _against(other: str, found: dict[str, list[Row]]) -> tuple[list[Table], list[str]]:
    tests = found["comparison_tests"]
    point = ("operating point", lambda row: words(row["operating_point"] or "of scores"))
    flow = [
        (words(row["name"]), count(row["n_studies"]))
        for row in found["comparison_flow"]
        if row["n_studies"] is not None
    ]
    drift = [_drift(row) for row in found["comparison_drift"] if row["n_units"]]
    flips = found["comparison_flips"]
    changed = [_flip(row) for row in flips[:_SHOWN]]
    cases = found["comparison_mask_cases"]
    masks = [row for row in found["comparison_masks"] if row["unit"] == "image"]
    settings = [(row["note"],) for row in found["comparison_flow"] if row["name"] == "difference"]
    tables = [
        *([Table(f"Settings in which this run differs from {other}", ("",), settings)] if settings else []),
        Table(f"Studies of this run and of {other}", ("", "studies"), flow),
        measure_table(
            f"Performance, this run − {other}",
            matching(tests, analysis_set="determinate"),
            [point],
            (*RATES, ("roc_auc", "AUC")),
            cell=comparison_cell,
        ),
        measure_table(
            f"Agreement of the calls with {other}", matching(tests, analysis_set="agreement"), [point], _AGREEMENT
        ),
        Table(
            f"Drift of the study scores since {other}",
            _DRIFT,
            drift,
        ),
        Table(f"Calls that changed since {other}{_first(flips)}", _FLIPS, changed, unbroken=True),
        measure_table(
            f"Overlap of the masks with those of {other}",
            masks,
            [("class", lambda row: words(row["class"] or "all classes"))],
            _MASKS,
            n="images",
        ),
        Table(
            f"Frames whose masks differ most from those of {other}{_first(cases)}",
            ("", "study", "image", "frame", "Dice", "changed pixels"),
            [_mask_case(row) for row in cases[:_SHOWN]],
            folded=True,
            unbroken=True,
        ),
    ]
    left_out = [f"{table.caption[0].lower()}{table.caption[1:]}: there are none" for table in tables if not table.rows]
    return [table for table in tables if table.rows], left_out


_DRIFT = (
    "covariate",
    "level",
    "operating point",
    "n",
    "mean before",
    "mean now",
    "difference",
    "95 % interval",
    "calls changed",
)
_FLIPS = ("study", "operating point", "score before", "score now", "call before", "call now", "now right")


def _drift(row: Row) -> tuple[str, ...]:
    return (
        words(row["covariate"] or "all studies"),
        NONE if row["level"] is None else str(row["level"]),
        words(row["operating_point"]),
        count(row["n_units"]),
        number(row["first_mean"]),
        number(row["second_mean"]),
        signed(row["mean_difference"], 4),
        interval(row["ci_low"], row["ci_high"], 4) if row["ci_low"] is not None else words(row["null_reason"]),
        count(row["n_flips"]),
    )


def _flip(row: Row) -> tuple[str, ...]:
    right = {True: "yes", False: "no", None: "no label"}[row["second_is_right"]]
    scores = (number(row["first_score"]), number(row["second_score"]))
    return (row["study_id"], words(row["operating_point"]), *scores, row["first_call"], row["second_call"], right)


def _mask_case(row: Row) -> tuple[str, ...]:
    numbers = (count(row["frame"]), number(row["foreground_dice"]), count(row["changed_px"]))
    return (count(row["rank"]), row["study_id"], row["image_id"], *numbers)


def _first(rows: list[Row]) -> str:
    return f" (the first {_SHOWN} of {len(rows):,})" if len(rows) > _SHOWN else ""
