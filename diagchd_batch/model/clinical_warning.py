"""Says when scores mean nothing clinically, because the weights never learned from a patient."""

from collections.abc import Mapping
from typing import Any

from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.spec import BUNDLED, ensemble_digest, seed_of


def clinical_warning(name: str, weights: str, *, simulated_images: bool) -> str | None:
    """Return a warning for whoever is about to score images, or None if there is nothing to warn of.

    Args:
        name: `model.name` of the job.
        weights: `model.weights` of the job.
        simulated_images: `input.simulated` of the job.

    Raises:
        ConfigError: There is no such model.
    """
    if seed_of(weights) is not None:
        return f"the weights are pseudo-random ({weights}): the scores mean nothing"
    training = load_card(name).training_data
    if weights == BUNDLED and training and training.simulated and not simulated_images:
        return (
            f"the weights of model {name} were trained on SIMULATED phantoms: scores of other images mean nothing "
            "clinically (set input.simulated: true if these are phantoms, too)"
        )
    return None


def uses_card_weights(card: Mapping[str, Any], weights_digest: str) -> bool:
    """Return whether a run used the weights of the model's card, and not a checkpoint of the user's.

    Args:
        card: The card, as the record of the run holds it.
        weights_digest: The digest of the weights, from the same record.
    """
    weights = card.get("weights") or []
    files = weights if isinstance(weights, list) else [weights]
    digests = [file.get("sha256") for file in files]
    return weights_digest in digests or (len(digests) > 1 and weights_digest == ensemble_digest(digests))


def trained_on_phantoms(card: Mapping[str, Any], weights_digest: str) -> bool:
    """Return whether a run used the weights of the model's card, and these were trained on simulated images.

    Args:
        card: The model's card as JSON values.
        weights_digest: The SHA-256 of the run's weights, as hex digits.
    """
    return uses_card_weights(card, weights_digest) and bool((card.get("training_data") or {}).get("simulated"))
