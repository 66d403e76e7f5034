"""Model cards: the `card.json` of a model package says what the model is, takes, returns and was trained on."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from diagchd_batch.config.job_file import RegionRule
from diagchd_batch.errors import ConfigError
from diagchd_batch.model.weights.variable_shapes import STRIDE, variable_shapes
from diagchd_batch.uris import is_key
from diagchd_batch.wording import shortened

_SHOWN_PROBLEMS = 10
_MAX_WIDTH_FACTOR = 4.0
_MAX_SIDE_PX = 4096
"""A card comes from whoever made the package. Larger networks would use up the memory before anything is checked."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Section):
    """The network and its grid.

    `identifier` names the design and its version. It changes whenever equal weights would give other scores.
    """

    identifier: str
    width_factor: float = Field(
        gt=0, le=_MAX_WIDTH_FACTOR, description="multiplies the channels of every convolution of the full design"
    )
    height: int = Field(gt=0, le=_MAX_SIDE_PX, description="rows of the grid that images are resized to")
    width: int = Field(gt=0, le=_MAX_SIDE_PX, description="columns of that grid")
    parameters: int = Field(
        gt=0, description="number of the network's parameters; another number than it has is refused"
    )


class Tensor(_Section):
    """One input or output, as a user of the model sees it."""

    description: str
    dtype: str
    shape: list[int | str]
    value_range: tuple[float, float]
    channels: dict[str, str] = Field(default_factory=dict, description="channel or class number -> meaning")


class WeightsFile(_Section):
    """One checkpoint of the package."""

    file: str = Field(description="path below the package's directory: weights/fold-0.h5")
    sha256: str = Field(pattern=r"[0-9a-f]{64}", description="digest of the file's bytes, in hexadecimal")
    size_bytes: int = Field(gt=0)

    @field_validator("file")
    @classmethod
    def _stays_in_the_package(cls, file: str) -> str:
        if not is_key(file):
            raise ValueError("must be a relative path below the package's directory, without '.' or '..' parts")
        return file


class TrainingData(_Section):
    """The data that the weights were trained on."""

    description: str
    sha256: str = Field(
        description="digest over the generated training and validation images, masks and labels, as the maker of the "
        "package states it; only who has these data can compare it"
    )
    simulated: bool
    repeat_with: str = Field(description="the command that makes the data and the weights again")


class TrainingSummary(_Section):
    """How `diagchd-batch train` made the weights. Counts below the smallest publishable number are null."""

    folds: str = Field(description="how the subjects were divided: the rule and the number of folds")
    recipe: dict[str, Any] = Field(description="the block `training` of the job, without places and columns")
    subjects: int | None = Field(description="subjects with a label or a mask that were trained on in any fold")
    positives: int | None = Field(description="subjects with congenital heart disease among them")
    sites: int | None = Field(default=None, description="values of the column that the folds leave out one by one")
    cross_validated_auc: tuple[float, float, float] | None = Field(
        default=None, description="cross-validated AUC of study scores, and its 95 % interval"
    )
    region: RegionRule = Field(description="`input.region` of the training; submit refuses another one")
    grid: tuple[int, int] = Field(description="height and width of the training images")
    colours: Literal["RGB"] = Field(default="RGB", description="what the three channels of an image are")
    versions: dict[str, str] = Field(description="package -> version of what trained the weights")
    devices: list[str] = Field(default=[], description="GPUs, or features of the processors, that trained the weights")
    simulated: bool = Field(description="whether the training images are simulated")


class ModelCard(_Section):
    """The contents of a `card.json`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="name in records and reports")
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
    weights: WeightsFile | list[WeightsFile] | None = Field(
        description="the checkpoint, or one for each fold; null: the package holds no weights"
    )
    training_data: TrainingData | None
    training: TrainingSummary | None = Field(
        default=None, description="how the weights were made, for packages of the command `train`"
    )

    @model_validator(mode="after")
    def _fits_its_training(self) -> "ModelCard":
        if self.training and self.training.grid != (self.architecture.height, self.architecture.width):
            raise ValueError("training.grid is not the grid of the architecture, so weights and network do not fit")
        return self

    @property
    def weights_files(self) -> list[WeightsFile]:
        """All checkpoints of the package: none, one, or one for each fold."""
        if self.weights is None:
            return []
        return [self.weights] if isinstance(self.weights, WeightsFile) else self.weights


def refuse_impossible_network(card: ModelCard, location: str) -> None:
    """Refuse a card whose architecture contradicts itself, before a worker starts.

    Args:
        card: The card, of an architecture that this version knows.
        location: What error messages call the package.

    Raises:
        ConfigError: Height or width is no multiple of `STRIDE`, or the network has another number of parameters.
    """
    architecture = card.architecture
    if architecture.height % STRIDE or architecture.width % STRIDE:
        raise ConfigError(
            f"model {location}: height and width of the card must be multiples of {STRIDE}, not {architecture.height} "
            f"x {architecture.width}; ask whoever made the package for the right card.json"
        )
    n_parameters = sum(math.prod(shape) for shape in variable_shapes(architecture.width_factor).values())
    if architecture.parameters != n_parameters:
        raise ConfigError(
            f"the card of model {location} states {architecture.parameters:,} parameters, but the network that it "
            f"describes (width_factor {architecture.width_factor:g}) has {n_parameters:,}; one of the two is wrong, so "
            "ask whoever made the package for the right card.json"
        )


def parse_card(data: bytes, location: str) -> ModelCard:
    """Return the card in the bytes of a `card.json`.

    Args:
        data: The file's bytes.
        location: What error messages call the package.

    Raises:
        ConfigError: The bytes are no valid card.
    """
    try:
        return ModelCard.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(
            f"the card of model {location} is damaged: {_problems(error)}; restore card.json, or "
            "reinstall a bundled model"
        ) from error


def _problems(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    texts = [
        f"{'.'.join(shortened(str(part), 60) for part in problem['loc']) or 'the file'}: {problem['msg']}"
        for problem in problems[:_SHOWN_PROBLEMS]
    ]
    if len(problems) > _SHOWN_PROBLEMS:
        texts.append(f"and {len(problems) - _SHOWN_PROBLEMS:,} more")
    return "; ".join(texts)
