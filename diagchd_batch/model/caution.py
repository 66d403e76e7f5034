"""What must be said of scores whose weights never learned from a patient."""

from collections.abc import Mapping
from typing import Any

from diagchd_batch.model.card import load_card
from diagchd_batch.model.spec import BUNDLED, seed_of


def caution(name: str, weights: str, *, simulated_images: bool) -> str | None:
    """A sentence for whoever is about to score images of a job's `model` block; None where there is nothing to say.

    Raises ConfigError for an unknown model.
    """
    if seed_of(weights) is not None:
        return f"the weights are pseudo-random ({weights}): the scores mean nothing"
    training = load_card(name).training_data
    if weights == BUNDLED and training and training.simulated and not simulated_images:
        return (
            f"the bundled weights of {name} were trained on SIMULATED phantoms: scores of other images mean nothing "
            "clinically (input.simulated: true says that these are phantoms, too)"
        )
    return None


def describes(card: Mapping[str, Any], weights_digest: str) -> bool:
    """Whether a run's weights are those of its `card` (as the run's record has it), not ones of the user's."""
    return ((card.get("weights") or {}).get("sha256")) == weights_digest


def trained_on_phantoms(card: Mapping[str, Any], weights_digest: str) -> bool:
    """Whether a run's weights are the card's own, and those were trained on simulated images."""
    return describes(card, weights_digest) and bool((card.get("training_data") or {}).get("simulated"))
