"""The simulated cohort: the generator (`dataset.phantom`, `dataset.generate`) and the committed sample."""
