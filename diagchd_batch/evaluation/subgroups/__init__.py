"""The model within levels of covariates, and the description of the cohort by them."""
