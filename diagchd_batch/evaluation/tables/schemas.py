"""Schemas of the metrics tables. They are contracts that people query for years: extend them, don't break them.

No table holds a NaN, a time stamp or an identifier of the user's own. A quantity that does not exist is null, and
`null_reason` says why.
"""

import pyarrow as pa

_text, _count, _number, _flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name.rstrip("_"), kind) for name, kind in columns.items()])


METRICS = _schema(
    analysis_set=_text,  # see ANALYSIS_SETS
    unit=_text,  # study, image
    cluster=_text,  # subject: several units of a subject, cluster-robust methods; none: one unit for each subject
    study_score=_text,  # how frames make a study's score: mean, max, median
    operating_point=_text,
    threshold=_number,
    optimistic=_flag,  # the threshold was chosen on the cohort evaluated here
    endpoint=_text,
    subject_kind=_text,  # model, reader, readers_mean, majority, readers
    subject=_text,
    comparator_kind=_text,
    comparator=_text,
    class_=_text,  # of a segmentation; chd or normal in the original's figures
    covariate=_text,
    level=_text,
    value=_number,
    comparator_value=_number,
    difference=_number,  # value − comparator_value
    se=_number,
    ci_low=_number,  # of the value in `estimates`, of the difference in `comparisons`
    ci_high=_number,
    ci_method=_text,
    generalises_to=_text,  # these_readers, readers_in_general; null where no group of readers is involved
    test=_text,
    statistic=_number,
    df1=_number,
    df2=_number,
    p=_number,
    p_adjusted=_number,  # Holm within `family`; null for the primary endpoint
    family=_text,
    role=_text,  # primary, exploratory
    margin=_number,  # of the primary endpoint: non-inferiority margin, 0 superiority
    conclusion=_text,  # of the primary endpoint: superior, non-inferior, not shown, no interval
    headline=_flag,  # the row belongs to the headline table
    numerator=_number,
    denominator=_number,
    n_denominator_subjects=_count,  # distinct subjects of the denominator, in rows with cluster = subject
    n_units=_count,
    n_subjects=_count,
    n_positive=_count,
    n_negative=_count,
    n_excluded=_count,  # planned units that do not enter this figure
    excluded_reasons=_text,  # why, as "reason=count" joined by "; "
    null_reason=_text,
    resamples=_count,
    degenerate_resamples=_count,  # resamples left out because of a single class or a zero denominator
    seed=_count,
    definition=_text,
)

STUDY_RESULTS = _schema(
    study_id=_text,
    subject_id=_text,
    status=_text,  # analysed, excluded, not_scored, failed, without_reference
    n_images=_count,
    n_frames_ok=_count,
    n_frames_failed=_count,
    error_code=_text,  # of the failed frames: the first in alphabetical order
    operating_point=_text,
    score=_number,
    call=_text,  # positive, negative; null without a score
    reference_label=pa.int8(),
    source_resolution=_text,
    n_frames_flagged=_count,  # with at least one quality flag
)

READS = _schema(
    study_id=_text,
    subject_kind=_text,  # reader, majority
    subject=_text,
    session=_text,
    arm=_text,
    status=_text,  # read, not_read, indeterminate; of a majority: decided, undecided
    call=_text,
    score=_number,
    reference_label=pa.int8(),
)

FLOW = _schema(
    step=pa.int32(),
    name=_text,
    reason=_text,  # null: the step as a whole
    subject_kind=_text,  # model, reader, majority: whose calls the step counts; null: the cohort's
    subject=_text,
    n_studies=_count,
    n_subjects=_count,
    n_positive=_count,
    n_negative=_count,
    n_frames=_count,
    note=_text,
)

COHORT_CHARACTERISTICS = _schema(
    variable=_text,
    level=_text,  # of a categorical variable
    group=_text,  # all, positive, negative, without_reference
    statistic=_text,  # n, share, mean, sd, q1, median, q3; outputs of early versions also hold minimum and maximum
    value=_number,
    n=_count,
    null_reason=_text,
    unit=_text,  # of mean, sd and quartiles: the unit of a measurement
)

CROSS_TABULATION = _schema(
    unit=_text,
    operating_point=_text,
    subject_kind=_text,
    subject=_text,
    comparator_kind=_text,  # reference, reader, majority
    comparator=_text,
    reference_call=_text,  # the reference label as a call: positive, negative, unknown
    call=_text,  # positive, negative, indeterminate, missing
    comparator_call=_text,
    n=_count,
)

CURVES = _schema(
    curve=_text,  # roc, precision_recall, decision
    unit=_text,
    subject_kind=_text,
    subject=_text,
    point=pa.int32(),
    threshold=_number,
    x=_number,
    y=_number,
    reference_y=_number,  # decision curve: net benefit of calling everyone positive
    definition=_text,
)

CALIBRATION = _schema(
    unit=_text,
    subject=_text,
    bins=pa.int32(),
    bin=pa.int32(),
    score_low=_number,
    score_high=_number,
    n=_count,
    n_positive=_count,
    mean_score=_number,
    observed=_number,
    ci_low=_number,
    ci_high=_number,
    ci_method=_text,
    null_reason=_text,
)

WORST_CASES = _schema(
    kind=_text,  # false_negative, false_positive, low_dice
    rank=pa.int32(),
    study_id=_text,
    image_id=_text,
    frame=pa.int32(),
    class_=_text,
    value=_number,  # the study's score, or the image's Dice
    reference_label=pa.int8(),
    definition=_text,
)

TABLES: dict[str, pa.Schema] = {
    "estimates": METRICS,
    "comparisons": METRICS,
    "study_results": STUDY_RESULTS,
    "reads": READS,
    "flow": FLOW,
    "cohort_characteristics": COHORT_CHARACTERISTICS,
    "cross_tabulation": CROSS_TABULATION,
    "curves": CURVES,
    "calibration": CALIBRATION,
    "worst_cases": WORST_CASES,
}
"""Schema of each table `metrics/<table>/run_id=R/part-00000.parquet`."""

ANALYSIS_SETS = {
    "determinate": "units with a reference label and a determinate result of all that are compared",
    "indeterminate_wrong": "as determinate, and failed, indeterminate and undecided results counted as wrong",
    "indeterminate_right": "as determinate, and failed, indeterminate and undecided results counted as right",
    "agreement": "units with ratings, whether or not they have a reference label",
    "segmentation": "images with a usable reference mask",
}
"""What each `analysis_set` is made of."""
