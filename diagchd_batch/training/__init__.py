"""Training of the network in the three stages of the original implementation."""
