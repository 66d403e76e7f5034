"""Compares two runs over the same studies, such as two versions of a model. Differences are second − first run."""
