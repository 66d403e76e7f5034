"""The simulated cohort: its generator (`dataset.phantom`, `dataset.generate`) and the committed sample."""
