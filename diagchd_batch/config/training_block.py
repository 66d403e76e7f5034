"""The block `training` of the job file: how a model is trained, for `diagchd-batch train`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from diagchd_batch.config.section import (
    LARGEST_INTEGER,
    Auto,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)

Preset = Literal["original", "quick"]
Monitor = Literal["loss", "segmentation_loss", "classification_loss", "accuracy", "auc"]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

TRAINING, VALIDATION, TEST = "training", "validation", "test"
"""The values of `training.folds.column` that divide the studies once instead of naming folds."""

SCRATCH = "scratch"
IMAGENET = "imagenet:"
"""The values of `training.initial_weights` that name no package. A path follows the second."""


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    low, high = values
    if high < low:
        raise ValueError(f"write a range as [lowest, highest]; {low:g} is above {high:g}")
    return values


Signed = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
Decibel = Annotated[float, Field(ge=-60, le=60, allow_inf_nan=False)]
SignedRange = Annotated[tuple[Signed, Signed], AfterValidator(_ordered)]
AngleRange = Annotated[tuple[Angle, Angle], AfterValidator(_ordered)]
FactorRange = Annotated[tuple[Factor, Factor], AfterValidator(_ordered)]
DecibelRange = Annotated[tuple[Decibel, Decibel], AfterValidator(_ordered)]
ShareRange = Annotated[tuple[Probability, Probability], AfterValidator(_ordered)]
SigmaRange = Annotated[tuple[Weight, Weight], AfterValidator(_ordered)]


class AugmentationConfig(Section):
    """The block `training.augmentation`: how training images are changed at random.

    Each key is null (off) or a range [lowest, highest], from which a number is drawn evenly for each image and epoch.
    """

    shift: SignedRange | None = Field(
        (-0.08, 0.08), description="Shift of the image, as a fraction of its height and of its width."
    )
    rotation_deg: AngleRange | None = Field((-10.0, 10.0), description="Rotation about the centre, in degrees.")
    scale: FactorRange | None = Field((0.9, 1.1), description="Factor of the size; above 1 enlarges.")
    gain: FactorRange | None = Field((0.75, 1.25), description="Factor of all grey values.")
    time_gain: DecibelRange | None = Field(
        (-3.0, 3.0),
        description="Time-gain curve: decibels by which a random curve over depth changes the echoes.",
    )
    attenuation: DecibelRange | None = Field(
        (0.0, 4.0), description="Further attenuation: decibels that the echoes lose from the top to the bottom."
    )
    shadow: ShareRange | None = Field(
        (0.0, 0.5),
        description="An acoustic shadow from the top down: the fraction of the echo that its core loses.",
    )
    speckle: ShareRange | None = Field(
        (0.0, 0.15), description="Further speckle: standard deviation of the random factor of each grain."
    )
    blur: SigmaRange | None = Field(
        (0.0, 0.8), description="Blur: standard deviation of a Gaussian, in pixels of the model's grid."
    )
    sector_crop: ShareRange | None = Field(
        None,
        description="A narrower sector: the fraction of the image's width that is made black at its sides.",
    )
    mirror: bool = Field(
        False,
        description="Whether images are mirrored at random, which exchanges left and right.",
    )


class StageConfig(Section):
    """An entry of `training.stages`: which weights are trained, for how long, and with which losses."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")] = Field(
        description="Name of the stage in logs and reports: lower-case letters, digits, - and _."
    )
    trains: Literal["segmentation", "classifier", "everything"] = Field(
        "everything",
        description="Which weights change. segmentation: all but the classifier; classifier: the dense layers of the "
        "classifier alone; everything: all.",
    )
    epochs: PositiveInt = Field(description="Largest number of epochs.")
    batch_size: PositiveInt = Field(8, description="Images per batch.")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(
        "adam", description="Optimiser; sgd has a momentum of 0.9."
    )
    learning_rate: PositiveFloat = Field(1e-3, description="Learning rate after the warm-up.")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant",
        description="How the learning rate falls. cosine: to 0 over the stage's epochs; plateau: by plateau_factor "
        "after plateau_patience epochs without a better result.",
    )
    warmup_fraction: Fraction = Field(
        0.0, description="The learning rate rises from 0 in this fraction of the stage's steps."
    )
    plateau_patience: PositiveInt = Field(10, description="Epochs without a better result, for schedule: plateau.")
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Factor of the learning rate at a plateau, for schedule: plateau."
    )
    patience: PositiveInt = Field(53, description="The stage ends after this many epochs without a better result.")
    dropout: Fraction | None = Field(
        None,
        description="Fraction of the classifier's values that are dropped at random in each step, before each of its "
        "four dense layers; null: 0.6, as in the original. Short trainings from random weights need less.",
    )
    segmentation_weight: Weight = Field(1.0, description="Weight of the segmentation loss.")
    classification_weight: Weight = Field(1.0, description="Weight of the classification loss.")
    monitor: Monitor = Field(
        "loss",
        description="Figure on the fold's validation part that chooses the best epoch. The highest accuracy or AUC, or "
        "the lowest loss, is the best.",
    )

    @model_validator(mode="after")
    def _has_a_loss(self) -> "StageConfig":
        needed = {"segmentation": "segmentation_weight", "classifier": "classification_weight"}.get(self.trains)
        if needed and getattr(self, needed) == 0:
            raise ValueError(f"a stage that trains the {self.trains} needs a {needed} above 0")
        if self.segmentation_weight == self.classification_weight == 0:
            raise ValueError("segmentation_weight and classification_weight are both 0, so nothing is learnt")
        return self


ORIGINAL_STAGES = (
    StageConfig(
        name="segmentation",
        trains="segmentation",
        epochs=300,
        batch_size=8,
        learning_rate=1e-3,
        schedule="plateau",
        classification_weight=0.0,
    ),
    StageConfig(
        name="classifier",
        trains="classifier",
        epochs=300,
        batch_size=12,
        learning_rate=1e-3,
        schedule="plateau",
        segmentation_weight=0.1,
        monitor="accuracy",
    ),
    StageConfig(
        name="everything",
        trains="everything",
        epochs=300,
        batch_size=8,
        learning_rate=1e-4,
        schedule="plateau",
        monitor="accuracy",
    ),
)
"""The stages of the original. It gives no learning rate for its first stage, which has that of the second here."""

QUICK_STAGES = (
    StageConfig(
        name="segmentation",
        trains="segmentation",
        epochs=8,
        batch_size=4,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_fraction=0.05,
        patience=8,
        classification_weight=0.0,
    ),
    StageConfig(
        name="everything",
        trains="everything",
        epochs=14,
        batch_size=8,
        learning_rate=1e-3,
        schedule="cosine",
        warmup_fraction=0.05,
        patience=14,
        dropout=0.2,
    ),
)
"""The stages for the small model and some hundreds of studies, from random weights.

Small batches give more steps. There is no stage for the classifier alone: after so short a training, the features of
the segmentation do not tell the classes apart yet. The loss chooses the best epoch: on the few studies that choose, it
is less noisy than the AUC.
"""

QUICK_STAGES_FROM_PACKAGE = (
    StageConfig(
        name="everything",
        trains="everything",
        epochs=3,
        batch_size=8,
        learning_rate=3e-4,
        schedule="cosine",
        warmup_fraction=0.05,
        patience=3,
    ),
)
"""The stage for the small model and some hundreds of studies, if `initial_weights` names a package.

The learning rate is low, so that what the package has learnt is kept.
"""

PRESETS: dict[Preset, tuple[StageConfig, ...]] = {"original": ORIGINAL_STAGES, "quick": QUICK_STAGES}


class FoldsConfig(Section):
    """The block `training.folds`: how the subjects are divided."""

    rule: Literal["subject", "leave_out", "column"] = Field(
        "subject",
        description="subject: at random, stratified by label; leave_out: each value of a column, such as the site, is "
        "held out once; column: a column names the fold that each study is held out in, or says training, validation "
        "or test, which gives one fold without held-out studies.",
    )
    number: Annotated[int, Field(ge=2, le=50)] = Field(5, description="Number of folds, for rule: subject.")
    column: Name | None = Field(
        None, description="A column of the manifest or of evaluation.covariates, for leave_out and column."
    )
    validation_fraction: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.15,
        description="Fraction of the subjects of a fold's training part that choose its best epoch. They are not "
        "trained on. A column that says validation has the choice itself.",
    )

    @model_validator(mode="after")
    def _has_its_column(self) -> "FoldsConfig":
        if (self.column is None) != (self.rule == "subject"):
            raise ValueError("training.folds.column goes with rule: leave_out or column, and they need it")
        return self


class TestSetConfig(Section):
    """The block `training.test`: studies that training never reads. Give a table, or a column and its value."""

    __test__ = False  # pytest takes it for a test by its name

    studies: str | None = Field(None, description="CSV with a column study_id that names the studies.")
    column: Name | None = Field(None, description="A column of the manifest or of evaluation.covariates.")
    value: str | None = Field(None, description="The value of that column that the studies of the test set have.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "TestSetConfig":
        if (self.studies is None) != (self.column is not None and self.value is not None) or (
            (self.column is None) != (self.value is None)
        ):
            raise ValueError("give either training.test.studies, or both training.test.column and value")
        return self


class OperatingPointTarget(Section):
    """An entry of `training.package.operating_points`: how a threshold is chosen on out-of-fold predictions."""

    name: Name = Field(description="Name of the operating point in the package.")
    rule: Literal["sensitivity", "specificity", "youden", "cost"] = Field(
        description="sensitivity, specificity: the threshold that reaches at_least, with the best of the other; "
        "youden: largest sensitivity + specificity; cost: least expected cost."
    )
    at_least: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="The sensitivity or specificity that must be reached."
    )
    false_negative_cost: PositiveFloat | None = Field(
        None, description="Cost of a missed case in units of the cost of a false alarm, for rule: cost."
    )
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Prevalence where the model will be used, for rule: cost; default: that of the studies."
    )

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> "OperatingPointTarget":
        if (self.at_least is not None) != (self.rule in ("sensitivity", "specificity")):
            raise ValueError("at_least goes with rule: sensitivity or specificity, and they need it")
        if (self.false_negative_cost is not None) != (self.rule == "cost"):
            raise ValueError("false_negative_cost goes with rule: cost, which needs it")
        if self.prevalence is not None and self.rule != "cost":
            raise ValueError("prevalence goes with rule: cost")
        return self


class TrainedViewCheckConfig(Section):
    """The block `training.package.view_check`: when the new model calls a picture not evaluable."""

    max_lost_fraction: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Largest fraction of the out-of-fold images that the threshold may call not evaluable."
    )


class PackageConfig(Section):
    """The block `training.package`: what is chosen on out-of-fold predictions and stored with the weights."""

    operating_points: list[OperatingPointTarget] = Field(
        [
            OperatingPointTarget(name="sensitivity 0.95", rule="sensitivity", at_least=0.95),
            OperatingPointTarget(name="Youden", rule="youden"),
        ],
        description="Thresholds that are chosen for the package.",
    )
    calibration: list[Literal["temperature", "platt", "isotonic"]] = Field(
        ["temperature", "platt", "isotonic"],
        description="Methods of calibration that are compared out of fold; the best is stored. [] stores none.",
    )
    view_check: TrainedViewCheckConfig | None = Field(
        TrainedViewCheckConfig(), description="The check for pictures that are no four-chamber view; null: none."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "PackageConfig":
        names = [point.name.strip().casefold() for point in self.operating_points]
        if len(set(names)) < len(names):
            raise ValueError("two entries of training.package.operating_points have one name; rename one")
        return self


class TrainingConfig(Section):
    """The block `training`: how a model of the network `model.name` is trained on the studies of `input`."""

    package_uri: str = Field(description="Directory or s3://bucket/prefix where the new model package is written.")
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] = Field(
        "trained", description="Name of the new model on its card: letters, digits, dots, - and _."
    )
    model_version: Annotated[str, Field(min_length=1, max_length=40, pattern=r"\S")] = Field(
        "1", description="Version of the new model on its card."
    )
    preset: Preset = Field(
        "original",
        description="The stages, unless training.stages gives them. original: the three stages of the original; quick: "
        "two short ones for the small model, or a single one if initial_weights names a package.",
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = Field(
        1, description="Seed of the folds, the initial weights, the order of the images and the augmentation."
    )
    folds: FoldsConfig = Field(FoldsConfig(), description="How the subjects are divided.")
    stages: Annotated[list[StageConfig], Field(min_length=1)] | None = Field(
        None, description="The stages, one after the other; default: those of the preset."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="How training images are changed at random."
    )
    initial_weights: Annotated[str, Field(min_length=1)] = Field(
        SCRATCH,
        description="scratch (random), imagenet:PATH (Keras's xception_weights_tf_dim_ordering_tf_kernels_notop.h5 for "
        "the encoder), or a model package as model.name takes it, which is trained further.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Number format of the operations; bfloat16 keeps the weights in float32."
    )
    class_weights: Literal["none", "balanced"] | tuple[PositiveFloat, PositiveFloat] = Field(
        "none",
        description="Weights of normal and CHD in the classification loss: none, balanced (the rarer class counts "
        "more), or [normal, CHD].",
    )
    sampling: Literal["image", "subject"] = Field(
        "image",
        description="image: an epoch has each image once; subject: each subject is drawn equally often, however many "
        "images it has.",
    )
    threads_per_fold: Auto | PositiveInt = Field(
        "auto",
        description="Threads of a fold on a CPU; auto: its share of the cores. The first start fixes the number, "
        "because the weights depend on it in their last bits.",
    )
    checkpoint_minutes: PositiveFloat = Field(
        10.0, description="Minutes between checkpoints within an epoch; each epoch ends with one too."
    )
    package: PackageConfig = Field(
        PackageConfig(), description="What is chosen on out-of-fold predictions and stored with the weights."
    )
    test: TestSetConfig | None = Field(None, description="Studies that training never reads.")
    mlflow_experiment: Name | None = Field(
        None,
        description="Name of the MLflow experiment that the finished training is logged to, on the server that "
        "MLFLOW_TRACKING_URI names; null: none. It needs the extra mlflow.",
    )

    @model_validator(mode="after")
    def _stages_have_names_of_their_own(self) -> "TrainingConfig":
        names = [stage.name for stage in self.stages or ()]
        if len(set(names)) < len(names):
            raise ValueError("two entries of training.stages have one name; rename one")
        return self

    @property
    def resolved_stages(self) -> tuple[StageConfig, ...]:
        """The stages that are trained: those of the job file, or else those of the preset."""
        if self.stages is not None:
            return tuple(self.stages)
        if self.preset == "quick" and self.starts_from_package:
            return QUICK_STAGES_FROM_PACKAGE
        return PRESETS[self.preset]

    @property
    def starts_from_package(self) -> bool:
        """Whether a model package is trained further."""
        return self.initial_weights != SCRATCH and not self.initial_weights.startswith(IMAGENET)
