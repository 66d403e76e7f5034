"""Names the weights that a training starts from, so that what depends on them can say which they were."""

from pathlib import Path

from diagchd_batch.config.training_block import IMAGENET, TrainingConfig
from diagchd_batch.errors import WeightsError
from diagchd_batch.model.card import ModelCard, WeightsFile
from diagchd_batch.model.packages.package import file_digest
from diagchd_batch.model.packages.registry import find_package, load_card


def initial_package(config: TrainingConfig) -> tuple[ModelCard, WeightsFile]:
    """Return the card of the package that is trained further, and the member whose weights are taken, its first.

    Args:
        config: How to train; `config.starts_from_package` holds.

    Raises:
        ConfigError: There is no such package.
        WeightsError: The package holds no weights.
    """
    card = load_card(config.initial_weights)
    if not card.weights_files:
        raise WeightsError(
            f"training.initial_weights: the package {config.initial_weights} holds no weights; name another one"
        )
    return card, card.weights_files[0]


def network_to_train(config: TrainingConfig, name: str) -> ModelCard:
    """Return the card of the network that a training trains, after a check that the initial weights fit it.

    Args:
        config: How to train.
        name: The value of `model.name`.

    Raises:
        ConfigError: There is no such model, or no package that the training starts from.
        WeightsError: That package holds no weights, or a file does not exist or does not fit the network.
        StorageFault: The storage of a package cannot be reached.
    """
    network = load_card(name)
    check_initial_weights(config, network)
    return network


def check_initial_weights(config: TrainingConfig, network: ModelCard) -> None:
    """Raise an error unless the weights that a training starts from fit its network. No value is read of them.

    Args:
        config: How to train.
        network: The card of the network that is trained.

    Raises:
        ConfigError: There is no such package.
        WeightsError: The package holds no weights, or a file does not exist or does not fit the network.
        StorageFault: The storage of the package cannot be reached.
    """
    from diagchd_batch.model.weights.matching import refuse_other_network  # h5py, which random weights do not need
    from diagchd_batch.model.weights.variable_shapes import variable_shapes
    from diagchd_batch.training.recipe.imagenet_encoder import check_encoder

    width_factor = network.architecture.width_factor
    if config.starts_from_package:
        card, weights = initial_package(config)
        path = find_package(config.initial_weights).weights_path(weights)
        widths = {card.name: card.architecture.width_factor, network.name: width_factor}
        refuse_other_network(path, "training.initial_weights", network.name, widths)
    elif config.initial_weights.startswith(IMAGENET):
        check_encoder(config.initial_weights.removeprefix(IMAGENET), variable_shapes(width_factor))


def describe_initial_weights(config: TrainingConfig) -> dict[str, str | bool]:
    """Return what the weights were, without the place where they lay.

    Args:
        config: How to train.

    Returns:
        ``kind`` (``scratch``, ``imagenet`` or ``package``); ``sha256`` of the file unless it is ``scratch``; for a
        package also its ``name`` and ``version``, and ``simulated``: whether it was trained on simulated images.

    Raises:
        ConfigError: There is no such package.
        WeightsError: The package holds no weights, or the file cannot be read.
    """
    if config.starts_from_package:
        card, weights = initial_package(config)
        simulated = card.training_data is not None and card.training_data.simulated
        return {
            "kind": "package",
            "name": card.name,
            "version": card.version,
            "sha256": weights.sha256,
            "simulated": simulated,
        }
    if config.initial_weights.startswith(IMAGENET):
        return {"kind": "imagenet", "sha256": file_digest(Path(config.initial_weights.removeprefix(IMAGENET)))}
    return {"kind": "scratch"}
