"""Definitions of all endpoints, one line each. They stand beside each figure, so that a table explains itself."""

_READERS_MEAN = "; for readers_mean the unweighted mean of the readers' own values"

DEFINITIONS = {
    # counts
    "tp": "diseased and called positive" + _READERS_MEAN,
    "fp": "healthy and called positive" + _READERS_MEAN,
    "fn": "diseased and called negative" + _READERS_MEAN,
    "tn": "healthy and called negative" + _READERS_MEAN,
    "indeterminate": "units with a reference label whose result is failed, not evaluable, indeterminate or undecided",
    "prevalence": "diseased / all units with a reference label and a call",
    # rates of calls
    "sensitivity": "recall: TP / (TP + FN)" + _READERS_MEAN,
    "specificity": "TN / (TN + FP)" + _READERS_MEAN,
    "ppv": "precision: TP / (TP + FP), at this cohort's prevalence" + _READERS_MEAN,
    "npv": "TN / (TN + FN), at this cohort's prevalence" + _READERS_MEAN,
    "ppv_pooled": "all readers' TP / all readers' (TP + FP)",
    "npv_pooled": "all readers' TN / all readers' (TN + FN)",
    "accuracy": "(TP + TN) / all" + _READERS_MEAN,
    "f1": "2 TP / (2 TP + FP + FN)" + _READERS_MEAN,
    "mcc": "Matthews' correlation coefficient",
    "balanced_accuracy": "(sensitivity + specificity) / 2",
    "lr_positive": "sensitivity / (1 − specificity)",
    "lr_negative": "(1 − sensitivity) / specificity",
    "ppv_at_prevalence": "PPV implied by sensitivity and specificity at the stated prevalence (Bayes' rule)",
    "npv_at_prevalence": "NPV implied by sensitivity and specificity at the stated prevalence (Bayes' rule)",
    **{
        f"{name}_corrected": f"{name} corrected for units without a reference label (Begg and Greenes); it "
        "assumes that, among units with the same call, those with a label are like those without"
        for name in ("sensitivity", "specificity")
    },
    # scores
    "roc_auc": "area under the ROC curve: probability that a diseased unit scores above a healthy one, ties half"
    + _READERS_MEAN,
    "average_precision": "sum over thresholds of precision × gain in recall, without interpolation",
    "brier": "mean squared difference of score and reference label",
    "calibration_intercept": "intercept of the logistic regression of the label on logit(score), slope fixed at 1; "
    "ideal 0",
    "calibration_slope": "slope of the logistic regression of the label on logit(score); ideal 1",
    "expected_calibration_error": "mean over bins of |mean score − share of diseased|, weighted by units; the bins are "
    "in the table calibration",
    **{
        f"{name}_calibrated": f"as {name}, after the calibration of the model's package was applied to the scores"
        for name in ("brier", "calibration_intercept", "calibration_slope", "expected_calibration_error")
    },
    **{
        f"{name}_at_prevalence": f"{what} at the stated prevalence: the diseased are weighted to make up that "
        "share, and the probabilities are unchanged"
        for name, what in {
            "average_precision": "average precision",
            "brier": "mean squared difference of score and reference label",
            "calibration_intercept": "calibration intercept",
            "calibration_slope": "calibration slope",
        }.items()
    },
    "abstention_area": "mean over the numbers of kept studies, from 1 to all, of the share of wrong calls among them; "
    "the studies with the lowest uncertainty are kept, by the measure in level (random: no order; oracle: right calls "
    "first)",
    # agreement
    "positive_agreement": "of the units that the comparator calls positive, the share called positive",
    "negative_agreement": "of the units that the comparator calls negative, the share called negative",
    "percent_agreement": "share of equal calls; among several raters the mean over pairs of ratings",
    "cohen_kappa": "Cohen's kappa of two raters, unweighted",
    "fleiss_kappa": "Fleiss' kappa: agreement over units with two calls or more, chance from all units with a call",
    "gwet_ac1": "Gwet's AC1: chance agreement from the mean of the categories' p (1 − p); stands beside kappa because "
    "kappa drops at low prevalence though sensitivity and specificity stay",
    "krippendorff_alpha": "Krippendorff's alpha, nominal; takes missing reads",
    # segmentation
    "dice_mean": "mean over units of 2 |A ∩ B| / (|A| + |B|); both masks empty: left out, one empty: 0",
    "iou_mean": "mean over units of |A ∩ B| / |A ∪ B|; both masks empty: left out, one empty: 0",
    "dice_pooled": "2 Σ|A ∩ B| / Σ(|A| + |B|), pixels of all images pooled; of several classes their mean",
    "iou_pooled": "Σ|A ∩ B| / Σ|A ∪ B|, pixels of all images pooled; of several classes their mean",
    "hd95_source_px_mean": "mean over units of the larger of the two directed 95th percentiles of distances between "
    "4-connected boundaries, in source pixels; one mask empty: left out",
    "hd95_source_px_penalised_mean": "as hd95_source_px_mean, with the image's diagonal where one mask is empty",
    "assd_source_px_mean": "mean over units of the average symmetric surface distance in source pixels; one mask "
    "empty: left out",
    "hd95_mm_mean": "as hd95_source_px_mean, in mm, over images whose pixels have a known size",
    "assd_mm_mean": "as assd_source_px_mean, in mm, over images whose pixels have a known size",
    "n_both_empty": "images on which neither mask has the class",
    "n_one_empty": "images on which one of the two masks lacks the class",
    # the original's own figures
    "one_hot_mean_iou_per_image": "the original's figure: mean over images of the mean IoU of background, septum and "
    "heart, classes that neither mask has left out; not comparable with a pooled IoU",
    "soft_dice_per_image": "the original's figure: mean over images of the soft Dice of the three classes",
    "segmentation_loss_per_image": "the original's figure: mean over images of cross-entropy + (1 − soft Dice)",
    "class_precision": "the original's figure: of the images assigned to the class, the share that belong to it",
    "class_recall": "the original's figure: of the images that belong to the class, the share assigned to it",
    "class_f1": "the original's figure: harmonic mean of the class's precision and recall",
    # subgroups
    "sensitivity_interaction": "test that the sensitivity is the same in all levels of the covariate",
    "specificity_interaction": "test that the specificity is the same in all levels of the covariate",
    "roc_auc_interaction": "test that the AUC is the same in all levels of the covariate (levels taken as independent)",
}
"""Endpoint → definition."""

CROSS_VALIDATED = {
    "roc_auc": "cross-validated AUC: mean of the folds' AUCs, weighted by their pairs of a diseased and a healthy unit",
    "average_precision": "cross-validated average precision: mean of the folds' average precisions, weighted by their "
    "diseased units",
    "abstention_area": "cross-validated: mean of the folds' areas, weighted by their units; a fold's area is the mean "
    "over the numbers of kept studies of the share of wrong calls among them, and less is better",
}
"""Endpoint → definition, where scores come from the models of different folds and are ranked within a fold alone."""

_DISTRIBUTION = {
    "sd": "standard deviation",
    "minimum": "minimum",
    "q1": "lower quartile",
    "median": "median",
    "q3": "upper quartile",
    "maximum": "maximum",
}

for _metric, _name in {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_source_px": "HD95 in source pixels",
    "assd_source_px": "average symmetric surface distance in source pixels",
    "hd95_mm": "HD95 in mm",
    "assd_mm": "average symmetric surface distance in mm",
}.items():
    for _statistic, _words in _DISTRIBUTION.items():
        DEFINITIONS[f"{_metric}_{_statistic}"] = f"{_words} over images of {_name}, images without a value left out"

for _metric, _name in {
    "area_mm2": "area of the class in the predicted mask, in mm²",
    "length_mm": "maximum Feret diameter of the septum's largest piece in the predicted mask, in mm",
}.items():
    for _statistic in ("q1", "median", "q3"):
        DEFINITIONS[f"{_metric}_{_statistic}"] = (
            f"{_DISTRIBUTION[_statistic]} over images whose pixels have a known size: {_name}; a clip's value is the "
            "mean of its frames' values"
        )
