"""Every method and figure that a table of an evaluation can name, and the part of the study that measures it.

`READERS` stands for `python -m tools.coverage readers`; other names are parts of `python -m tools.coverage measure`.
"""

READERS = "readers"

MEASURED: dict[str, str] = {
    # single figures
    "wilson": "rates",
    "wilson_effective_n": "rates",
    "combined_wilson": "rates",
    "combined_wilson_effective_n": "rates",
    "newcombe_delong": "scores",
    "newcombe_delong_clustered": "scores",
    "newcombe_mann_whitney": "scores",
    "wald": "scores",
    "wald_cluster_robust": "scores",
    "subject_bootstrap_bca": "resampled",
    "stratified_linearised": "reweighted",
    "stratified_linearised_logit": "reweighted",
    "combined_limits": "levels",
    "combined_limits_clustered": "levels",
    # differences and tests
    "newcombe_paired": "compared_rates",
    "mcnemar_exact": "compared_rates",
    "subject_sign_flip": "compared_rates",
    "subject_linearised": "compared_predictive_values",
    "weighted_generalised_score": "compared_predictive_values",
    "clustered_generalised_score": "compared_predictive_values",
    "delong_student": "compared_scores",
    "delong_clustered_student": "compared_scores",
    "subject_bootstrap_percentile": READERS,
    "subject_exchange": READERS,
    "pearson_chi_squared": READERS,
    "cluster_score": READERS,
    # agreement and readers
    "fleiss_cohen_everitt": READERS,
    "student_t": READERS,
    "obuchowski_rockette": READERS,
    "obuchowski_rockette_unbalanced": READERS,
    "one_sample_obuchowski_rockette": READERS,
    "one_sample_obuchowski_rockette_logit": READERS,
}
"""Method → the part that measures it."""

NOT_MEASURED: dict[str, str] = {
    "clopper_pearson": "on request; covers at least 95 % of independent units by construction",
    "clopper_pearson_effective_n": "on request, for units that are not independent",
    "obuchowski_rockette_fixed_readers": "fewer than three readers, about these readers only",
    "obuchowski_rockette_unbalanced_fixed_readers": "the same with gaps",
    "one_sample_obuchowski_rockette_fixed_readers": "the same for the model against readers",
    "one_sample_obuchowski_rockette_fixed_readers_logit": "the same for the readers' mean",
    "logit_positive_subjects": "average precision of more than 20,000 subjects",
    "subject_bootstrap_within_folds": "the AUC over the folds of a training, in a model card",
    "cochran_q": "the test that AUCs are equal at all levels",
}
"""Method → when a table names it, although the study does not measure it."""

NEVER_IN_TABLES = (
    "log",
    "logit_known_prevalence",
    "delong",
    "delong_clustered",
    "delong_logit",
    "delong_clustered_logit",
)
"""Methods of functions that the evaluation does not call."""

MEASURED_FIGURES: dict[str, str] = {
    **dict.fromkeys(("sensitivity", "specificity", "ppv", "npv", "accuracy"), "rates"),
    **dict.fromkeys(("balanced_accuracy", "lr_positive", "lr_negative"), "rates"),
    **dict.fromkeys(("roc_auc", "calibration_intercept", "calibration_slope"), "scores"),
    **dict.fromkeys(("f1", "mcc", "average_precision", "brier"), "resampled"),
    **dict.fromkeys(("ppv_at_prevalence", "npv_at_prevalence"), "predictive"),
    **dict.fromkeys(("sensitivity_corrected", "specificity_corrected"), "partly_labelled"),
    **dict.fromkeys(("average_precision_at_prevalence", "brier_at_prevalence"), "reweighted"),
    **dict.fromkeys(("calibration_intercept_at_prevalence", "calibration_slope_at_prevalence"), "reweighted"),
    **dict.fromkeys(("percent_agreement", "cohen_kappa", "fleiss_kappa", "gwet_ac1"), READERS),
    **dict.fromkeys(("krippendorff_alpha", "sensitivity_interaction"), READERS),
}
"""Endpoint → the part that measures its interval or test."""

LIKE_MEASURED_FIGURES: dict[str, str] = {
    "prevalence": "rates: a proportion",
    "positive_agreement": "rates: the sensitivity, with another rater as the reference",
    "negative_agreement": "rates: the specificity, with another rater as the reference",
    "specificity_interaction": "readers: the interaction test of the sensitivity, among the healthy",
    "brier_calibrated": "resampled: the Brier score of other probabilities",
    "calibration_intercept_calibrated": "scores: the intercept of other probabilities",
    "calibration_slope_calibrated": "scores: the slope of other probabilities",
    **dict.fromkeys(("dice_mean", "iou_mean"), "readers: the mean image value, whose distribution is alike"),
}
"""Endpoint → the part that measures the same formula on data of the same kind."""

NOT_MEASURED_FIGURES: dict[str, str] = {
    "ppv_pooled": "readers' calls pooled: a bootstrap of a ratio of sums",
    "npv_pooled": "the same",
    "abstention_area": "a BCa bootstrap of the area under an abstention curve",
    "roc_auc_interaction": "Cochran's Q over the levels' AUCs",
    **dict.fromkeys(("dice_pooled", "iou_pooled"), "a bootstrap of ratios of pixel counts"),
    **dict.fromkeys(
        (
            *("hd95_source_px_mean", "hd95_source_px_penalised_mean", "assd_source_px_mean"),
            *("hd95_mm_mean", "assd_mm_mean"),
        ),
        "a bootstrap of the mean of distances, which are skewed",
    ),
    **dict.fromkeys(
        ("one_hot_mean_iou_per_image", "soft_dice_per_image", "segmentation_loss_per_image"),
        "a bootstrap of the mean over images",
    ),
    **dict.fromkeys(("class_precision", "class_recall", "class_f1"), "rates of images, several for each subject"),
}
"""Endpoint → what its interval or test is. No part of the study measures it."""

WITHOUT_INTERVAL = (
    *("tp", "fp", "fn", "tn", "indeterminate", "n_both_empty", "n_one_empty"),
    *("expected_calibration_error", "expected_calibration_error_calibrated"),
)
"""Endpoints that never have an interval or a test. The quantiles of a distribution have none, either."""
