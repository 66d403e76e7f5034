"""Training of the network in the three stages of the original implementation."""

import diagchd_batch.model  # noqa: F401 - keeps settings from outside away before a module of this package imports Keras
