"""The model within levels of covariates, and the description of the cohort by them.

`covariate_levels` sorts studies into levels, `numeric_covariates` knows which numbers are measurements, and
`subgroup_rows` and `cohort_characteristics` make rows of tables.
"""
