"""Every method that a table of an evaluation can name, and the part of the coverage study that measures it.

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
