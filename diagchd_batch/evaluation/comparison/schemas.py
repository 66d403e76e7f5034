"""Schemas of the tables `comparisons/<table>/run_id=B/compare_to=A/part-00000.parquet`.

Differences are run B − run A.
"""

import pyarrow as pa

from diagchd_batch.evaluation.tables.schemas import METRICS

_text, _count, _number = pa.string(), pa.int64(), pa.float64()

FLIPS = pa.schema(
    [
        ("study_id", _text),
        ("subject_id", _text),
        ("operating_point", _text),
        ("threshold", _number),
        ("first_score", _number),
        ("second_score", _number),
        ("first_call", _text),  # positive, negative
        ("second_call", _text),
        ("reference_label", pa.int8()),
        ("second_is_right", pa.bool_()),  # null without a reference label
    ]
)

DRIFT = pa.schema(
    [
        ("covariate", _text),  # null: all studies
        ("level", _text),
        ("operating_point", _text),
        ("n_units", _count),
        ("n_subjects", _count),
        ("first_mean", _number),
        ("second_mean", _number),
        ("mean_difference", _number),
        ("ci_low", _number),
        ("ci_high", _number),
        ("ci_method", _text),
        ("null_reason", _text),
        ("sd_difference", _number),
        ("largest_difference", _number),  # in absolute value
        ("n_flips", _count),
        ("resamples", _count),
        ("seed", _count),
        ("definition", _text),
    ]
)

MASK_CASES = pa.schema(
    [
        ("rank", pa.int32()),
        ("study_id", _text),
        ("image_id", _text),
        ("frame", pa.int32()),
        ("foreground_dice", _number),
        ("changed_px", _count),
    ]
)

FLOW = pa.schema([("name", _text), ("n_studies", _count), ("n_frames", _count), ("note", _text)])

TABLES: dict[str, pa.Schema] = {
    "comparison_tests": METRICS,
    "comparison_flips": FLIPS,
    "comparison_drift": DRIFT,
    "comparison_masks": METRICS,
    "comparison_mask_cases": MASK_CASES,
    "comparison_flow": FLOW,
}
