"""The columns of the metrics tables, each declared once. They are contracts that people query for years.

Extend them, don't break them: append a declaration with `since=` the next schema version, and give rows the column.
Writer, `query`, docs/tables.md (`python -m tools.column_tables`) and the metadata of files follow from it.

No table holds a NaN, a time stamp or an identifier of the user's own. A quantity that does not exist is null, and
`null_reason` says why.
"""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DESCRIPTION, DeclaredColumn, arrow_schema

Columns = tuple[DeclaredColumn, ...]

UNDEFINED_WHEN = "undefined; `null_reason` says why"
_NO_OPERATING_POINT = "figures without an operating point"
_NO_COMPARATOR = "figures about one rater"
_NO_RATE = "the figure is no rate"
_NO_RESAMPLING = "nothing was resampled"
_NO_DIFFERENCE = "undefined; `difference_null_reason` says why"
_NO_CURVE_INTERVAL = "ROC and precision-recall curves, and points without an interval"
_CALLS = ("positive", "negative")


def text(name: str, description: str, null_when: str = "", **options: Any) -> DeclaredColumn:
    """Return the declaration of a column of words.

    Args:
        name: The column's name.
        description: What a value means.
        null_when: In which rows it is null; empty if in none.
        options: Further arguments of `DeclaredColumn`.
    """
    return DeclaredColumn(name, pa.string(), description, null_when=null_when, **options)


def count(name: str, description: str, null_when: str = "", **options: Any) -> DeclaredColumn:
    """Return the declaration of a column of counts.

    Args:
        name: The column's name.
        description: What a value means.
        null_when: In which rows it is null; empty if in none.
        options: Further arguments of `DeclaredColumn`.
    """
    return DeclaredColumn(name, pa.int64(), description, null_when=null_when, minimum=0, **options)


def number(name: str, description: str, null_when: str = "", **options: Any) -> DeclaredColumn:
    """Return the declaration of a column of numbers with a fraction.

    Args:
        name: The column's name.
        description: What a value means.
        null_when: In which rows it is null; empty if in none.
        options: Further arguments of `DeclaredColumn`.
    """
    return DeclaredColumn(name, pa.float64(), description, null_when=null_when, **options)


def place(name: str, description: str, null_when: str = "", **options: Any) -> DeclaredColumn:
    """Return the declaration of a column of small whole numbers, such as ranks.

    Args:
        name: The column's name.
        description: What a value means.
        null_when: In which rows it is null; empty if in none.
        options: Further arguments of `DeclaredColumn`.
    """
    return DeclaredColumn(name, pa.int32(), description, null_when=null_when, **options)


def flag(name: str, description: str, null_when: str = "", **options: Any) -> DeclaredColumn:
    """Return the declaration of a column of true and false.

    Args:
        name: The column's name.
        description: What a value means.
        null_when: In which rows it is null; empty if in none.
        options: Further arguments of `DeclaredColumn`.
    """
    return DeclaredColumn(name, pa.bool_(), description, null_when=null_when, **options)


def described_schema(rows: str, columns: Columns) -> pa.Schema:
    """Return the Arrow schema of a table. Its metadata says what one row is.

    Args:
        rows: What one row is.
        columns: The declared columns.
    """
    return arrow_schema(columns).with_metadata({DESCRIPTION: rows.encode()})


STUDY_ID = text("study_id", "token of the study")
SUBJECT_ID = text("subject_id", "token of the subject (the pregnancy)")
OPERATING_POINT = text("operating_point", "name of the operating point")
NULL_REASON = text("null_reason", "why a value, its interval or its test is absent", "nothing is absent")
REFERENCE_LABEL = DeclaredColumn(
    "reference_label", pa.int8(), "reference label of the study: 0 normal, 1 congenital heart disease",
    minimum=0, maximum=1, null_when="studies without a reference label",
)  # fmt: skip

ANALYSIS_SETS = {
    "determinate": "units with a reference label and a determinate result of all that are compared",
    "indeterminate_wrong": "as determinate, and failed, not evaluable, indeterminate and undecided results counted as "
    "wrong",
    "indeterminate_right": "as determinate, and failed, not evaluable, indeterminate and undecided results counted as "
    "right",
    "not_read_wrong": "as determinate, and studies that a reader of the study did not read counted as wrong calls of "
    "that reader",
    "not_read_right": "as determinate, and studies that a reader of the study did not read counted as right calls of "
    "that reader",
    "read_in_both_arms": "studies that at least one reader read in both arms; each reader is compared on his or her "
    "own",
    "partly_labelled": "units with a determinate result, whether or not they have a reference label; those with one "
    "are taken to be like the others with the same call",
    "agreement": "units with ratings, whether or not they have a reference label",
    "segmentation": "images with a usable reference mask",
    "measurements": "images whose pixels have a known size, with or without a reference",
}
"""What each `analysis_set` is made of."""

SCORE_DEFINITION: Columns = (
    text("study_score", "how the scores of a study's images make the study's score", values=("mean", "max", "median")),
    text("image_score", "how the probabilities of an image's frames make the image's score; `top_k` is the mean of the "
         "highest", "tables of schema versions before 3, which gave every frame of a study the same weight",
         values=("mean", "max", "median", "top_k"), since=3),
    count("top_k", "number of frames that enter `top_k`", "other image scores", since=3),
)  # fmt: skip
"""How frames make a study's score: columns of `FIGURES`."""

SCORE_DEFINITION_SINCE_3: Columns = tuple(
    replace(column, since=3, null_when="" if column.name == "image_score" else column.null_when)
    for column in SCORE_DEFINITION
)
"""The same for tables that state the definition since schema version 3."""

FIGURES: Columns = (
    text("analysis_set", "which units count: " + "; ".join(f"`{name}`: {what}" for name, what in ANALYSIS_SETS.items())
         + "; `original`: as the original's own evaluation counts"),
    text("unit", "what is counted", values=("study", "image")),
    text("cluster", "`subject`: subjects have several of the row's units, and methods for clustered data were used; "
         "`none`: one unit for each subject", values=("subject", "none")),
    *SCORE_DEFINITION,
    text("operating_point", "name of the operating point", _NO_OPERATING_POINT),
    number("threshold", "probability from which a unit is called positive", _NO_OPERATING_POINT, minimum=0, maximum=1),
    flag("optimistic", "whether the threshold was chosen on the cohort evaluated here", _NO_OPERATING_POINT),
    text("endpoint", "the figure, such as `sensitivity`; `definition` defines it"),
    text("subject_kind", "kind of the rater that the figure is about",
         values=("model", "reader", "readers_mean", "majority", "readers", "run")),
    text("subject", "the rater that the figure is about: the model's name, a reader's token, a run"),
    text("comparator_kind", "kind of the rater that it is compared with", _NO_COMPARATOR),
    text("comparator", "the rater that it is compared with", _NO_COMPARATOR),
    text("class", "class of a segmentation; `chd` or `normal` in the original's figures", "figures about all classes"),
    text("covariate", "the covariate of a subgroup", "figures about all units"),
    text("level", "level of the covariate; a number unless the job discloses texts",
         "figures about all units, and tests over all levels"),
    number("value", "the figure", UNDEFINED_WHEN),
    number("comparator_value", "the comparator's figure", _NO_COMPARATOR + ", and undefined ones"),
    number("difference", "`value` minus `comparator_value`", _NO_COMPARATOR + ", and undefined ones"),
    number("se", "standard error of the value, or of the difference if there is one", "the method has none", minimum=0),
    number("ci_low", "lower limit of the 95 % interval, of the difference if there is one", UNDEFINED_WHEN),
    number("ci_high", "upper limit of the 95 % interval, of the difference if there is one", UNDEFINED_WHEN),
    text("ci_method", "method of the interval", "there is no interval"),
    text("generalises_to", "to whom a figure about a group of readers applies", "no group of readers is involved",
         values=("these_readers", "readers_in_general")),
    text("test", "name of the test", "there is no test"),
    number("statistic", "test statistic", "the test has none"),
    number("df1", "degrees of freedom; of the numerator in an F test", "the test has none"),
    number("df2", "degrees of freedom of the denominator in an F test", "the test has none, or infinitely many"),
    number("p", "two-sided p value", "there is no test", minimum=0, maximum=1),
    number("p_adjusted", "Holm's adjustment of `p` within `family`", "there is no test, and the primary endpoint",
           minimum=0, maximum=1),
    text("family", "the tests that are adjusted together", "there is no test"),
    text("role", "`primary` for the endpoint that the job file names, else `exploratory`", "estimates",
         values=("primary", "exploratory")),
    number("margin", "non-inferiority margin of the primary endpoint; 0: superiority", "all but the primary endpoint"),
    text("conclusion", "what the primary endpoint's interval shows", "all but the primary endpoint",
         values=("superior", "non-inferior", "not shown", "no interval")),
    flag("headline", "whether the row belongs to the headline table"),
    number("numerator", "numerator of a rate", _NO_RATE, minimum=0),
    number("denominator", "denominator of a rate", _NO_RATE, minimum=0),
    count("n_denominator_subjects", "distinct subjects in the denominator", "rows without `cluster = subject`",
          since=2),
    count("n_units", "units that enter the figure"),
    count("n_subjects", "distinct subjects of these units", "they were not counted"),
    count("n_positive", "units with reference label 1", "the reference label plays no part"),
    count("n_negative", "units with reference label 0", "the reference label plays no part"),
    count("n_excluded", "planned units that do not enter the figure", "they were not counted"),
    text("excluded_reasons", "why they do not, as `reason=count` joined by `; `", "nothing is excluded"),
    NULL_REASON,
    count("resamples", "number of resamples of a bootstrap or permutation", _NO_RESAMPLING),
    count("degenerate_resamples", "resamples left out because of a single class or a zero denominator",
          _NO_RESAMPLING),
    count("seed", "seed of the resamples", _NO_RESAMPLING),
    text("definition", "the definition of the figure in one line"),
    text("caution", "what was measured against the interval or test in cohorts like this one",
         "nothing is known against them", since=3),
    number("p_margin", "one-sided p value against the margin; below 0.025 where the interval lies above −margin",
           "all but the primary endpoint, and without an interval", minimum=0, maximum=1, since=3),
)  # fmt: skip
"""The columns of `estimates` and `comparisons`, and of two tables of `compare`."""

STUDY_RESULTS: Columns = (
    STUDY_ID,
    SUBJECT_ID,
    text("status", "whether the study is analysed, or why not",
         values=("analysed", "excluded", "not_scored", "failed", "not_evaluable", "without_reference")),
    count("n_images", "image files of the study"),
    count("n_frames_ok", "frames that were scored"),
    count("n_frames_failed", "failed rows of the study"),
    text("error_code", "error code of the failed frames; the first in alphabetical order", "no frame failed"),
    OPERATING_POINT,
    number("score", "the study's score, made of its frames' probabilities", "studies without a scored frame",
           minimum=0, maximum=1),
    text("call", "whether the score reaches the threshold",
         "studies without a score, and studies that are not evaluable or excluded",
         values=_CALLS),
    REFERENCE_LABEL,
    text("source_resolution", "height × width of the study's largest scored frame",
         "studies without a scored frame", unit="source pixels"),
    count("n_frames_flagged", "frames with at least one quality flag"),
    count("n_frames_evaluable", "scored frames that are evaluable; all of them for a model without a view check",
          "tables of schema versions before 3", since=3),
    *SCORE_DEFINITION_SINCE_3,
)  # fmt: skip

READS: Columns = (
    STUDY_ID,
    text("subject_kind", "who read", values=("reader", "majority")),
    text("subject", "token of the reader, or `majority`"),
    text("session", "session of the read", "the readers' file names none"),
    text("arm", "arm of the reader study", "the readers' file names none"),
    text("status", "`read`, `not_read` or `indeterminate`; of a majority `decided` or `undecided`",
         values=("read", "not_read", "indeterminate", "decided", "undecided")),
    text("call", "the reader's call", "reads without a call", values=_CALLS),
    number("score", "the reader's score", "reads without a score"),
    REFERENCE_LABEL,
)  # fmt: skip

FLOW: Columns = (
    place("step", "number of the step", minimum=0),
    text("name", "name of the step"),
    text("reason", "why the studies leave at this step", "the step as a whole"),
    text("subject_kind", "whose calls the step counts", "steps of the whole cohort",
         values=("model", "reader", "majority")),
    text("subject", "the model's name, or the reader's token", "steps of the whole cohort"),
    count("n_studies", "number of studies", "notes"),
    count("n_subjects", "number of subjects", "steps that count none"),
    count("n_positive", "studies with reference label 1", "steps that count none"),
    count("n_negative", "studies with reference label 0", "steps that count none"),
    count("n_frames", "number of frames", "steps that count none"),
    text("note", "what was left out, and what would be needed", "steps without a note"),
)  # fmt: skip

COHORT_CHARACTERISTICS: Columns = (
    text("variable", "what is described: a covariate, or a number of the cohort"),
    text("level", "level of a categorical variable", "other variables"),
    text("group", "the studies described", values=("all", "positive", "negative", "without_reference")),
    text("statistic", "the statistic; outputs of schema version 1 may also have `minimum` and `maximum`",
         values=("n", "share", "mean", "sd", "q1", "median", "q3")),
    number("value", "its value; measurements are rounded", UNDEFINED_WHEN),
    count("n", "studies behind it"),
    NULL_REASON,
    text("unit", "unit of mean, standard deviation and quartiles", "other statistics", since=2),
)  # fmt: skip

CROSS_TABULATION: Columns = (
    text("unit", "what is counted", values=("study", "image")),
    text("operating_point", "name of the operating point", "neither rater is the model"),
    text("subject_kind", "kind of the rater in the rows of the table",
         values=("model", "reader", "readers_mean", "majority")),
    text("subject", "the rater in the rows of the table"),
    text("comparator_kind", "kind of the rater in its columns", values=("reference", "reader", "majority")),
    text("comparator", "the rater in its columns"),
    text("reference_call", "reference label as a call", values=(*_CALLS, "unknown"), since=2),
    text("call", "call of the rater in the rows", values=(*_CALLS, "indeterminate", "missing")),
    text("comparator_call", "call of the rater in the columns; `unknown`: the reference has no label",
         values=(*_CALLS, "indeterminate", "missing", "unknown")),
    count("n", "units with this combination"),
)  # fmt: skip

CURVES: Columns = (
    text("curve", "kind of the curve", values=("roc", "precision_recall", "decision",
         "decision_at_prevalence", "calibration_at_prevalence", "ppv_by_prevalence", "npv_by_prevalence")),
    text("unit", "what is counted", values=("study", "image")),
    text("subject_kind", "kind of the rater"),
    text("subject", "the rater"),
    place("point", "number of the point on the curve", minimum=0),
    number("threshold", "probability from which a unit is called positive",
           "the end of a curve, and means over the curves of folds"),
    number("x", "1 − specificity, recall, threshold probability, mean score, or prevalence"),
    number("y", "sensitivity, precision, net benefit, share of diseased units, or NPV", UNDEFINED_WHEN),
    number("reference_y", "net benefit of calling every unit positive", "other curves than decision curves"),
    text("definition", "the definition of the curve in one line"),
    *SCORE_DEFINITION_SINCE_3,
    number("prevalence", "prevalence that the curve is reweighted to", "curves as observed", minimum=0,
           maximum=1, since=3),
    number("ci_low", "lower limit of the 95 % interval of `y`", _NO_CURVE_INTERVAL, since=3),
    number("ci_high", "upper limit of the 95 % interval of `y`", _NO_CURVE_INTERVAL, since=3),
    text("ci_method", "method of the interval", _NO_CURVE_INTERVAL, since=3),
)  # fmt: skip

CALIBRATION: Columns = (
    text("unit", "what is counted", values=("study", "image")),
    text("subject", "the model's name"),
    place("bins", "number of bins", minimum=1),
    place("bin", "number of the bin", minimum=0),
    number("score_low", "lower limit of the bin", minimum=0, maximum=1),
    number("score_high", "upper limit of the bin", minimum=0, maximum=1),
    count("n", "units in the bin"),
    count("n_positive", "units in the bin with reference label 1"),
    number("mean_score", "mean score of the bin", "empty bins", minimum=0, maximum=1),
    number("observed", "share of units with reference label 1", "empty bins", minimum=0, maximum=1),
    number("ci_low", "lower limit of the 95 % interval of `observed`", UNDEFINED_WHEN, minimum=0, maximum=1),
    number("ci_high", "upper limit of the 95 % interval of `observed`", UNDEFINED_WHEN, minimum=0, maximum=1),
    text("ci_method", "method of the interval", "there is no interval"),
    NULL_REASON,
    *SCORE_DEFINITION_SINCE_3,
    flag(
        "calibrated",
        "whether the calibration of the model's package was applied to the scores",
        "tables of schema versions before 3",
        since=3,
    ),
)

WORST_CASES: Columns = (
    text("kind", "why the case is listed", values=("false_negative", "false_positive", "low_dice")),
    place("rank", "place in the list of its kind; 1 is the worst", minimum=1),
    STUDY_ID,
    text("image_id", "token of the image file", "kinds about studies"),
    place("frame", "number of the frame in its file, from 0", "kinds about studies", minimum=0),
    text("class", "class of the segmentation", "kinds about studies"),
    number("value", "the study's score, or the image's Dice coefficient", minimum=0, maximum=1),
    REFERENCE_LABEL,
    text("definition", "the definition of the list in one line"),
    *SCORE_DEFINITION_SINCE_3,
)  # fmt: skip

SUBGROUPS: Columns = (
    text("unit", "what is counted", values=("study", "image"), since=3),
    text("cluster", "as in `estimates`", values=("subject", "none"), since=3),
    *(replace(column, since=3) for column in SCORE_DEFINITION),
    text("operating_point", "name of the operating point", _NO_OPERATING_POINT, since=3),
    number("threshold", "probability from which a unit is called positive", _NO_OPERATING_POINT, minimum=0, maximum=1,
           since=3),
    text("subject", "the model's name", since=3),
    text("covariate", "the covariate", since=3),
    text("level", "its level; a number unless the job discloses texts", since=3),
    text("endpoint", "the figure", values=("sensitivity", "specificity", "roc_auc"), since=3),
    count("n_units", "units of the level with a reference label and a call", since=3),
    count("n_subjects", "distinct subjects of these units", since=3),
    count("n_positive", "units with reference label 1", since=3),
    count("n_negative", "units with reference label 0", since=3),
    number("value", "the figure in the level", UNDEFINED_WHEN, since=3),
    number("ci_low", "lower limit of its 95 % interval", UNDEFINED_WHEN, since=3),
    number("ci_high", "upper limit of its 95 % interval", UNDEFINED_WHEN, since=3),
    text("ci_method", "method of the interval", "there is no interval", since=3),
    replace(NULL_REASON, since=3),
    number("others_value", "the figure in all other levels together", _NO_DIFFERENCE, since=3),
    number("difference", "`value` minus `others_value`", _NO_DIFFERENCE, since=3),
    number("difference_ci_low", "lower limit of the 95 % interval of the difference", _NO_DIFFERENCE, since=3),
    number("difference_ci_high", "upper limit of the 95 % interval of the difference", _NO_DIFFERENCE, since=3),
    text("difference_ci_method", "method of that interval", "there is no interval", since=3),
    text("difference_null_reason", "why the difference or its interval is absent", "nothing is absent", since=3),
    text("test", "name of the test that the figure is the same in all levels of the covariate", "there is no test",
         since=3),
    number("statistic", "test statistic", "there is no test", since=3),
    number("df1", "degrees of freedom", "there is no test", since=3),
    number("p", "p value of the test", "there is no test", minimum=0, maximum=1, since=3),
    number("p_adjusted", "Holm's adjustment of `p` over the covariates", "there is no test", minimum=0, maximum=1,
           since=3),
    text("caution", "as in `estimates`", "nothing is known against the interval", since=3),
)  # fmt: skip

_ABSTENTION = (
    text("unit", "what is kept or left out", values=("study",)),
    text("subject", "the model's name"),
    OPERATING_POINT,
    number("threshold", "probability from which a study is called positive", minimum=0, maximum=1),
    text("uncertainty", "the measure that decides who is kept: a column of the scores, averaged over the study's "
         "images; `score_margin`, the distance of the study's score to the threshold; `score_entropy`, its distance to "
         "0.5; `random`: no order; `oracle`: right calls first",
         values=("chd_probability_sd", "mask_disagreement", "view_score", "score_margin", "score_entropy", "random",
                 "oracle")),
    place("point", "number of the point on the curve", minimum=0),
    count("n_kept", "number of studies that are kept, the most certain first"),
    number("kept", "share of studies that are kept", minimum=0, maximum=1),
    number("error_rate", "share of wrong calls among them; expected, where studies are equally uncertain", minimum=0,
           maximum=1),
    number("sensitivity", "sensitivity among them", "no diseased study is kept", minimum=0, maximum=1),
    number("specificity", "specificity among them", "no healthy study is kept", minimum=0, maximum=1),
    *SCORE_DEFINITION_SINCE_3,
)  # fmt: skip
ABSTENTION: Columns = tuple(replace(column, since=3) for column in _ABSTENTION)

METRICS = arrow_schema(FIGURES)

TABLES: dict[str, pa.Schema] = {
    "estimates": described_schema(
        "one figure of one rater (the model, a reader, the readers' mean, their majority) with its interval", FIGURES
    ),
    "comparisons": described_schema(
        "one difference of two raters with its interval, test and p value; or one test over a covariate's levels",
        FIGURES,
    ),
    "study_results": described_schema("one study at one operating point", STUDY_RESULTS),
    "reads": described_schema("one read of one study by one reader, or the readers' majority on one study", READS),
    "flow": described_schema(
        "one step from planned studies to analysed ones, of one reader's reads, or a note on what was left out", FLOW
    ),
    "cohort_characteristics": described_schema(
        "one statistic of one variable in a group of studies", COHORT_CHARACTERISTICS
    ),
    "cross_tabulation": described_schema(
        "one combination of two raters' calls, or of a rater's call and the label", CROSS_TABULATION
    ),
    "curves": described_schema("one point of a curve, such as a ROC or decision curve", CURVES),
    "calibration": described_schema("one bin of the probability", CALIBRATION),
    "subgroups": described_schema(
        "one figure of the model in one level of a covariate, its difference from all other levels, and the test over "
        "all levels; smallest levels first",
        SUBGROUPS,
    ),
    "abstention": described_schema("one point of a curve of errors against the share of studies kept", ABSTENTION),
    "worst_cases": described_schema("one of the studies or images with the worst results", WORST_CASES),
}
"""Schema of each table `metrics/<table>/run_id=R/part-00000.parquet`."""
