-- The headline table: the model, each reader, the readers' mean and their majority; TP FP FN TN, accuracy, recall,
-- specificity, precision, NPV and F1, each with its interval and, where the model is compared, the difference
-- model − subject with interval, test and p. One row a subject and endpoint.
SELECT
    estimates.subject_kind,
    estimates.subject,
    CASE estimates.endpoint WHEN 'sensitivity' THEN 'recall' WHEN 'ppv' THEN 'precision' ELSE estimates.endpoint END
        AS endpoint,
    estimates.value,
    estimates.ci_low,
    estimates.ci_high,
    estimates.ci_method,
    estimates.numerator,
    estimates.denominator,
    estimates.n_units,
    estimates.n_excluded,
    estimates.excluded_reasons,
    estimates.null_reason,
    comparisons.difference AS model_minus_subject,
    comparisons.ci_low AS difference_ci_low,
    comparisons.ci_high AS difference_ci_high,
    comparisons.ci_method AS difference_ci_method,
    comparisons.test,
    comparisons.p,
    comparisons.p_adjusted,
    comparisons.role,
    comparisons.n_units AS n_compared,
    comparisons.null_reason AS difference_null_reason
FROM estimates
LEFT JOIN comparisons
    ON comparisons.headline
    AND comparisons.subject_kind = 'model'
    AND comparisons.endpoint = estimates.endpoint
    AND comparisons.comparator_kind = estimates.subject_kind
    AND comparisons.comparator = estimates.subject
WHERE estimates.headline
ORDER BY
    list_position(['model', 'reader', 'readers_mean', 'majority'], estimates.subject_kind),
    estimates.subject,
    list_position(
        ['tp', 'fp', 'fn', 'tn', 'accuracy', 'sensitivity', 'specificity', 'ppv', 'npv', 'f1'], estimates.endpoint);
