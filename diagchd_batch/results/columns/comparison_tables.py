"""The columns of the tables `comparisons/<table>/run_id=B/compare_to=A/part-00000.parquet`, each declared once.

The first run is A, and the second is B. Differences are run B − run A.
"""

import pyarrow as pa

from diagchd_batch.results.columns.evaluation_tables import (
    FIGURES,
    OPERATING_POINT,
    REFERENCE_LABEL,
    SCORE_DEFINITION_SINCE_3,
    STUDY_ID,
    SUBJECT_ID,
    UNDEFINED_WHEN,
    Columns,
    count,
    described_schema,
    flag,
    number,
    place,
    text,
)

_CALLS = ("positive", "negative")
_NO_INTERVAL = "there is no interval"

FLIPS: Columns = (
    STUDY_ID,
    SUBJECT_ID,
    OPERATING_POINT,
    number("threshold", "probability from which a study is called positive", minimum=0, maximum=1),
    number("first_score", "score in the first run", minimum=0, maximum=1),
    number("second_score", "score in the second run", minimum=0, maximum=1),
    text("first_call", "call in the first run", values=_CALLS),
    text("second_call", "call in the second run", values=_CALLS),
    REFERENCE_LABEL,
    flag("second_is_right", "whether the second run agrees with the label", "studies without a reference label"),
    *SCORE_DEFINITION_SINCE_3,
)

DRIFT: Columns = (
    text("covariate", "the covariate of a subgroup", "rows about all studies"),
    text("level", "level of the covariate", "rows about all studies"),
    OPERATING_POINT,
    count("n_units", "studies scored by both runs"),
    count("n_subjects", "distinct subjects of these studies"),
    number("first_mean", "mean score in the first run", UNDEFINED_WHEN, minimum=0, maximum=1),
    number("second_mean", "mean score in the second run", UNDEFINED_WHEN, minimum=0, maximum=1),
    number("mean_difference", "`second_mean` minus `first_mean`", UNDEFINED_WHEN, minimum=-1, maximum=1),
    number("ci_low", "lower limit of the 95 % interval of the mean difference", UNDEFINED_WHEN),
    number("ci_high", "upper limit of the 95 % interval of the mean difference", UNDEFINED_WHEN),
    text("ci_method", "method of the interval", _NO_INTERVAL),
    text("null_reason", "why the difference or its interval is absent", "nothing is absent"),
    number("sd_difference", "standard deviation of the differences", UNDEFINED_WHEN, minimum=0),
    number("largest_difference", "largest difference in absolute value", UNDEFINED_WHEN, minimum=0, maximum=1),
    count("n_flips", "studies whose call changed"),
    count("resamples", "number of bootstrap resamples", _NO_INTERVAL),
    count("seed", "seed of the bootstrap", _NO_INTERVAL),
    text("definition", "the definition of the figure in one line"),
    *SCORE_DEFINITION_SINCE_3,
)

MASK_CASES: Columns = (
    place("rank", "place in the list; 1 is the pair of masks that differs most", minimum=1),
    STUDY_ID,
    text("image_id", "token of the image file"),
    place("frame", "number of the frame in its file, from 0", minimum=0),
    number("foreground_dice", "Dice coefficient of the two masks' septum and heart together",
           "neither mask has any of them", minimum=0, maximum=1),
    count("changed_px", "pixels whose class differs", unit="pixels of the finer of the two grids"),
)  # fmt: skip

FLOW: Columns = (
    text("name", "the group of studies; `left_out` and `difference` for notes"),
    count("n_studies", "number of studies", "notes"),
    count("n_frames", "number of frames", "groups of studies, and notes"),
    text("note", "what was left out and why, or a setting in which the runs differ", "groups of studies"),
)

TABLES: dict[str, pa.Schema] = {
    "comparison_tests": described_schema(
        "a paired test of the two runs against the reference standard, or the agreement of their calls", FIGURES
    ),
    "comparison_flips": described_schema("a study whose call changed", FLIPS),
    "comparison_drift": described_schema(
        "how far scores moved, over all studies or within one level of a covariate", DRIFT
    ),
    "comparison_masks": described_schema(
        "one figure about the Dice of the two runs' masks in one class, or the share of pixels with the same class",
        FIGURES,
    ),
    "comparison_mask_cases": described_schema("one of the frames whose masks differ most", MASK_CASES),
    "comparison_flow": described_schema("a number of studies: in both runs, in only one, or failed in either", FLOW),
}
