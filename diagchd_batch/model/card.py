"""Model cards: what a model is, takes, gives and was trained on. One folder under `configs/models/` per model."""

import json
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diagchd_batch.bundled import bundled_path
from diagchd_batch.errors import ConfigError

_MODELS = "configs/models"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Section):
    """`identifier` names the design and its version: it changes whenever equal weights would give other scores."""

    identifier: str
    width_factor: float = Field(gt=0, description="multiplies the channels of every convolution of the full design")
    height: int = Field(gt=0, description="rows of the grid that images are resized to")
    width: int = Field(gt=0, description="columns of that grid")
    parameters: int = Field(gt=0)


class Tensor(_Section):
    """One input or output as a user of the model meets it."""

    description: str
    dtype: str
    shape: list[int | str]
    value_range: tuple[float, float]
    channels: dict[str, str] = Field(default_factory=dict, description="channel or class number -> meaning")


class BundledWeights(_Section):
    file: str = Field(description="name of the checkpoint in the model's folder")
    sha256: str
    size_bytes: int


class TrainingData(_Section):
    description: str
    sha256: str = Field(description="digest over the generated training and validation images, masks and labels")
    simulated: bool
    repeat_with: str = Field(description="the command that makes the data and the weights again")


class ModelCard(_Section):
    """The contents of a model's `card.json`."""

    name: str
    version: str
    changelog: dict[str, str]
    description: str
    tasks: dict[str, str]
    intended_use: str
    limitations: str
    licence: str
    references: list[str]
    architecture: Architecture
    preprocessing: str = Field(description="identifier of the preprocessing, part of a run's fingerprint")
    chd_threshold: float = Field(ge=0, le=1, description="CHD is called at this probability and above")
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    weights: BundledWeights | None = Field(description="null: no weights are bundled")
    training_data: TrainingData | None


def list_models() -> list[str]:
    """Names of the models that this installation knows."""
    return sorted(path.parent.name for path in bundled_path(_MODELS).glob("*/card.json"))


@cache
def load_card(name: str) -> ModelCard:
    """The card of model `name`. Raises ConfigError for an unknown name or a damaged card."""
    known = list_models()
    if name not in known:
        raise ConfigError(f"there is no model {name!r}; choose one of {', '.join(known)}")
    path = bundled_path(f"{_MODELS}/{name}/card.json")
    try:
        card = ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise ConfigError(f"the card of model {name} is damaged ({path}): {error}; reinstall the package") from error
    return card
