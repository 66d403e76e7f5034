"""The job file, as pydantic models. Their field descriptions are the documentation that `config schema` prints."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from diagchd_batch.config.section import (
    LARGEST_INTEGER,
    LARGEST_NUMBER,
    Auto,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)
from diagchd_batch.config.training_block import TrainingConfig

RegionRule = Literal["whole", "tagged", "found"]
ALLOWED_KINDS = (
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "Modality",
    "BodyPartExamined",
    "ImplementationClassUID",
    "ImplementationVersionName",
    "PrivateCreator",
    "CodeValue",
    "CodeMeaning",
    "CodingSchemeDesignator",
    *(f"{family} {name}" for family in ("EXIF", "TIFF") for name in ("Make", "Model", "Software")),
    "PNG Software",
)
"""Kinds of values that tell what made a picture and not whose it is. A job file may have another list."""


class FrameSpacing(Section):
    """The value of `input.frames` that thins out the frames of a file: `{every: N}` or `{max: N}`."""

    every: PositiveInt | None = Field(None, description="Score the frames 0, N, 2N, … of each file.")
    max: PositiveInt | None = Field(
        None,
        description="Score at most N frames of each file: the middle frame of each of N parts of equal length. Files "
        "with N frames or fewer are scored whole.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "FrameSpacing":
        if (self.every is None) == (self.max is None):
            raise ValueError("give either every: N or max: N")
        return self

    @property
    def rule(self) -> str:
        """The rule in the form that plans and fingerprints hold (`images.frames.FrameRule`)."""
        return f"max {self.max}" if self.every is None else f"every {self.every}"


class DicomwebConfig(Section):
    """The block `input.dicomweb`: how gently a PACS is read.

    Credentials do not belong in a job file. They are named by environment variables (see docs/dicom.md).
    """

    max_requests_in_flight: PositiveInt = Field(
        4, description="Largest number of requests that the whole run has open at a time."
    )
    max_requests_per_second: PositiveFloat = Field(
        10.0, description="Largest number of requests that the whole run begins in one second."
    )
    allow_plaintext: bool = Field(
        False,
        description="Whether dicomweb+http:// may reach other machines, so that pictures and names of patients, and "
        "credentials, cross the network unencrypted.",
    )


_DICOM_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)


def _calendar_date(value: Any) -> date:
    """Return a date that is written as 2019-12-31 or, as in DICOM, 20191231. Other numbers are no dates."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    written = _DICOM_DATE.fullmatch(str(value)) if isinstance(value, str | int) else None
    if written is None:
        raise ValueError("write a date as 2019-12-31")
    return date(*map(int, written.groups()))


CalendarDate = Annotated[date, BeforeValidator(_calendar_date)]
Pattern = Annotated[str, Field(min_length=1, max_length=64, pattern=r"\S")]
Patterns = Annotated[list[Pattern], Field(min_length=1)]


class DateRange(Section):
    """The block `input.filter.study_date`: the first and the last date of the studies that are kept."""

    first: CalendarDate | None = Field(None, description="First date, such as 2019-01-01; default: no limit.")
    last: CalendarDate | None = Field(None, description="Last date, which is included; default: no limit.")

    @model_validator(mode="after")
    def _ordered(self) -> "DateRange":
        if self.first is None and self.last is None:
            raise ValueError("input.filter.study_date needs first, last or both")
        if self.first and self.last and self.last < self.first:
            raise ValueError(f"input.filter.study_date.last ({self.last}) is before first ({self.first})")
        return self


class FrameCountRange(Section):
    """The block `input.filter.number_of_frames`: how many frames the kept objects have."""

    min: PositiveInt = Field(1, description="Smallest number of frames; 2 leaves single pictures out.")
    max: PositiveInt | None = Field(
        None, description="Largest number of frames; 1 leaves clips out. The default is no limit."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "FrameCountRange":
        if self.max is not None and self.max < self.min:
            raise ValueError(f"input.filter.number_of_frames.max ({self.max}) is below min ({self.min})")
        if self.max is None and self.min == 1:
            raise ValueError("input.filter.number_of_frames keeps everything; give min, max or both")
        return self


class ObjectFilter(Section):
    """The block `input.filter`: which DICOM objects are planned. An object must pass every key that is given.

    A list holds texts, of which one must match the whole value. Upper and lower case are equal, `*` stands for any
    characters and `?` for one. An object without the value is left out.
    """

    modality: Patterns | None = Field(None, description="Modality (0008,0060), such as [US].")
    manufacturer: Patterns | None = Field(None, description='Manufacturer (0008,0070), such as ["GE*", "Philips*"].')
    study_date: DateRange | None = Field(None, description="Study Date (0008,0020), from first to last.")
    body_part: Patterns | None = Field(None, description="Body Part Examined (0018,0015), such as [HEART, FETUS].")
    series_description: Patterns | None = Field(None, description='Series Description (0008,103E), such as ["*4CH*"].')
    number_of_frames: FrameCountRange | None = Field(None, description="Number of Frames (0028,0008); 1 if absent.")

    @model_validator(mode="after")
    def _not_empty(self) -> "ObjectFilter":
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"input.filter holds no filter; give one of {', '.join(type(self).model_fields)}")
        return self


class InputConfig(Section):
    """The block `input`: where the archive lies, and how its studies are found."""

    uri: str = Field(
        description="Directory or s3://bucket/prefix below which all images and masks lie, or the address of a PACS "
        "(dicomweb+https://host/dicom-web?ModalitiesInStudy=US)."
    )
    layout: Literal["manifest", "tree", "diagchd", "dicom"] = Field(
        description="manifest: a table names the images; tree: one directory per study; "
        "diagchd: IMAGE/<label>/… with MASK/<label>/…; dicom: studies and patients as the DICOM headers name them"
    )
    manifest: str | None = Field(None, description="The manifest (CSV or Parquet), for layout manifest.")
    filter: ObjectFilter | None = Field(
        None, description="Which objects are planned, by their headers; for layout dicom. The default is all images."
    )
    frames: Literal["all", "first", "middle"] | FrameSpacing = Field(
        "all",
        description="Which frames of a multi-frame file are scored if the manifest names none: all, first, middle, "
        "{every: N} (every N-th frame from the first one on) or {max: N} (at most N, spread evenly).",
    )
    region: RegionRule = Field(
        "whole",
        description="Which part of a frame is scored. whole: all of it; tagged: the ultrasound region in the file's "
        "header, and where there is none, as found; found: the ultrasound image that is found in the pixels, and where "
        "none is found, the whole frame.",
    )
    label_map: dict[int, Annotated[int, Field(ge=0, le=2)]] | None = Field(
        None, description="Grey value in the masks → class (0 background, 1 septum, 2 heart); default: 0, 1 and 2."
    )
    simulated: bool = Field(False, description="Whether the images are simulated. Every table and report then says so.")
    dicomweb: DicomwebConfig = Field(
        DicomwebConfig(), description="How gently a PACS is read, if input.uri names one. It changes no result."
    )

    @model_validator(mode="after")
    def _manifest_goes_with_layout(self) -> "InputConfig":
        if (self.layout == "manifest") != (self.manifest is not None):
            raise ValueError("input.manifest and layout: manifest go together; give both or neither")
        return self

    @model_validator(mode="after")
    def _filter_needs_headers(self) -> "InputConfig":
        if self.filter is not None and self.layout != "dicom":
            raise ValueError(
                f"input.filter needs layout: dicom, because layout {self.layout} reads no headers when it plans; "
                "remove the filter, or change the layout"
            )
        return self

    @property
    def frame_rule(self) -> str:
        """The rule of `frames` in the form that plans and fingerprints hold (`images.frames.FrameRule`)."""
        return self.frames if isinstance(self.frames, str) else self.frames.rule

    @model_validator(mode="after")
    def _layouts_of_directories_need_directories(self) -> "InputConfig":
        if self.layout in ("tree", "diagchd") and self.uri.lower().startswith("dicomweb+"):
            raise ValueError(
                f"input.layout: {self.layout} finds studies by directories, and a PACS has none; write layout: dicom, "
                "or name the instances in a manifest"
            )
        return self


class ModelConfig(Section):
    """The block `model`: which model scores, with which weights and precision."""

    name: str = Field(
        "diagchd",
        description="A bundled model (diagchd, diagchd-compact), the path of a model package with a "
        "slash in it (./mine), or s3://bucket/prefix.",
    )
    weights: str = Field(
        "bundled",
        description="bundled (the weights in the model package), the path of a checkpoint (one of this "
        "program or an original .h5; on a cluster the same path on every node), or seed:N for tests.",
    )
    members: Literal["all"] | Annotated[int, Field(ge=0, le=999)] = Field(
        "all",
        description="Which weights of the package score, if it has those of several folds: all (an ensemble), or the "
        "number of one, from 0.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Number format of the model's operations. bfloat16 is faster on some devices and rounds more.",
    )
    batch_size: Auto | PositiveInt = Field(
        "auto", description="Images per batch. auto is resolved once per run, and the result is stored."
    )


class OutputConfig(Section):
    """The block `output`: where results are written."""

    uri: str = Field(description="Directory or s3://bucket/prefix for the tables. Several runs can share it.")
    private_uri: str | None = Field(
        None,
        description="Where identified data go (key, plan, sources): a place apart from output.uri and input.uri; "
        "default: _private/ below output.uri.",
    )
    privacy_check: bool = Field(
        False,
        description="Whether submit and train search the output for identifiers at their end, as privacy check does. "
        "If any is found, the command ends with exit code 1, and the run is kept.",
    )


class ShardsConfig(Section):
    """The block `shards`: how images are grouped into shards."""

    images_per_shard: Auto | PositiveInt = Field(
        "auto", description="auto: 256 to 2,048, with the aim of at most 5,000 shards."
    )


class ActorsConfig(Section):
    """The block `cluster.actors`: how many actors score at once."""

    min: PositiveInt = Field(
        1, description="Smallest number of actors. A cluster of fixed size that has no room for them is refused."
    )
    max: Auto | PositiveInt = Field(
        "auto", description="auto: as many as fit on the nodes, including nodes that join the cluster during the run."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ActorsConfig":
        if self.max != "auto" and self.max < self.min:
            raise ValueError(f"cluster.actors.max ({self.max}) is below cluster.actors.min ({self.min})")
        return self


class ClusterConfig(Section):
    """The block `cluster`: the actors and what each of them gets."""

    actors: ActorsConfig = Field(ActorsConfig(), description="How many actors score at once.")
    gpus_per_actor: Auto | Annotated[float, Field(ge=0, le=LARGEST_NUMBER, allow_inf_nan=False)] = Field(
        "auto", description="GPUs of one actor; auto: 1 if any node has a GPU, else 0."
    )
    cpus_per_actor: Auto | PositiveFloat = Field(
        "auto", description="Processor cores of one actor; auto: the cores of a node, shared by the actors on it."
    )
    threads_per_actor: Auto | PositiveInt = Field(
        "auto",
        description="Threads for the model's operations on a CPU; auto: the actor's cores, less one for the "
        "decoders if it has three or more. The last bits of the full "
        "network's results depend on it: set a number if runs with different actors must give the same bytes.",
    )


class LimitsConfig(Section):
    """The block `limits`: sizes, timeouts, and when a run gives up."""

    max_failed_fraction: Probability = Field(
        0.5, description="The run stops if more than this fraction of its frames fail, from 200 frames on."
    )
    max_missing_fraction: Probability = Field(
        0.05,
        description="A plan is refused if more than this fraction of its images are missing; one of fewer "
        "than 20 images, if all of them are missing.",
    )
    max_pixels: PositiveInt = Field(
        50_000_000, description="Largest number of pixels of one frame, checked before decoding."
    )
    max_file_bytes: PositiveInt = Field(1_073_741_824, description="Largest size of one file, checked before reading.")
    max_attempts: PositiveInt = Field(4, description="Largest number of attempts at a shard within one submission.")
    decode_timeout_s: PositiveFloat = Field(
        60.0, description="Seconds that an isolated decoder may take for one frame."
    )
    decode_memory_bytes: PositiveInt = Field(
        4_294_967_296, description="Memory limit of an isolated decoder's process."
    )
    object_timeout_s: PositiveFloat = Field(
        300.0, description="Seconds for which failed requests for one object are retried."
    )
    stall_timeout_s: PositiveFloat = Field(
        900.0, description="A worker that makes no progress for this many seconds ends itself."
    )


class OperatingPoint(Section):
    """An entry of `evaluation.operating_points`: a threshold under a name."""

    name: str = Field(description="Name of the operating point in tables and reports. Each needs one of its own.")
    threshold: Probability = Field(description="A study with this score or a higher one is called CHD.")
    chosen_on: str = Field(
        description="Data on which the threshold was chosen, or 'model card'; 'evaluated cohort' is optimistic."
    )


class NumericCovariate(Section):
    """An entry of `evaluation.numeric_covariates`: the unit and the rounding of a covariate."""

    unit: Annotated[str, Field(min_length=1, max_length=20)] = Field(description="Unit of the numbers, such as mm.")
    round_to: PositiveFloat = Field(description="Numbers are rounded to a multiple of this, such as 0.5.")


class PrimaryEndpoint(Section):
    """The block `evaluation.primary`: the comparison that the study was planned for."""

    endpoint: str = Field(
        description="Measure that is compared: roc_auc, sensitivity, specificity, ppv, npv, accuracy, f1, mcc, "
        "balanced_accuracy, lr_positive or lr_negative."
    )
    comparator: str = Field(description="With what the model is compared: readers_mean, majority, or a reader's name.")
    margin: FiniteFloat = Field(0.0, description="Non-inferiority margin; 0 tests superiority.")


class EvaluationConfig(Section):
    """The block `evaluation`: the tables of labels and reads, and the settings of the statistics."""

    cohort_name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"\S")] | None = Field(
        None, description="Name of the cohort as the report's title shows it. It must not identify a patient."
    )
    reference: str | None = Field(None, description="CSV: study_id, label[, diagnosis][, method].")
    readers: str | None = Field(
        None, description="CSV, long: study_id, reader[, session][, arm], status, call[, score]."
    )
    covariates: str | None = Field(None, description="CSV: study_id and one column per covariate.")
    cut_points: dict[str, list[FiniteFloat]] = Field(
        default_factory=dict, description="Covariate → cut points between its levels."
    )
    numeric_covariates: dict[str, NumericCovariate] = Field(
        default_factory=dict,
        description="Covariate → its unit and rounding. Needed for columns of numbers that are no well-known "
        "measurement (gestational age, maternal age, BMI, …): others are taken for levels or left out, because they "
        "can be hospital numbers or dates.",
    )
    image_score: Literal["mean", "max", "median", "top_k"] = Field(
        "mean",
        description="How the probabilities of an image's frames are combined to the image's score; top_k: the mean of "
        "the evaluation.top_k highest. Images with one frame have its probability.",
    )
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        3, description="Number of frames that image_score: top_k takes the mean of; all, if an image has fewer."
    )
    study_score: Literal["mean", "max", "median"] = Field(
        "mean", description="How the scores of a study's images are combined to the study's score."
    )
    exclude: Literal["nothing", "not_evaluable"] = Field(
        "nothing",
        description="not_evaluable: studies of which no image is evaluable (the model's view check) are excluded. "
        "nothing: they are indeterminate, counted once as wrong and once as right.",
    )
    operating_points: list[OperatingPoint] = Field(
        [OperatingPoint(name="default", threshold=0.5, chosen_on="model card")],
        description="Thresholds at which studies are called CHD or normal. The headline shows the first that was not "
        "chosen on the evaluated cohort.",
    )
    package_decisions: bool = Field(
        True,
        description="Whether the operating points and the calibration of the model's package are evaluated beside "
        "operating_points and the scores as they are.",
    )
    prevalence: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.01],
        description="Prevalences for which PPV, NPV, net benefit, calibration, Brier score and average precision are "
        "also computed.",
    )
    primary: PrimaryEndpoint | None = Field(
        None, description="The comparison that the study was planned for. Its p value is not adjusted; all others are."
    )
    proportion_interval: Literal["wilson", "exact"] = Field(
        "wilson", description="Interval of sensitivity, specificity, PPV, NPV and accuracy; exact: Clopper-Pearson."
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        2_000, description="Number of bootstrap resamples of an interval."
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = Field(
        20_240_229, description="Seed of the bootstrap. The same seed gives the same intervals."
    )
    disclose: bool = Field(
        False, description="Whether tables show the own names of readers and covariates instead of tokens."
    )

    @model_validator(mode="after")
    def _operating_points_have_names_of_their_own(self) -> "EvaluationConfig":
        names = [point.name.strip().casefold() for point in self.operating_points]
        for place, name in enumerate(names):
            if not name:
                raise ValueError(f"evaluation.operating_points.{place}.name is empty; give each operating point a name")
            if name in names[:place]:
                raise ValueError(
                    f"evaluation.operating_points.{names.index(name)} and {place} have the same name; tables tell them "
                    "apart by their names alone, so rename one"
                )
        return self


class DisclosureConfig(Section):
    """The block `disclosure`: what `export shareable` withholds."""

    min_cell: PositiveInt = Field(
        10, description="Counts from 1 to below this number are suppressed in `export shareable`."
    )


class PrivacyConfig(Section):
    """The block `privacy`: what `privacy check` does not search for."""

    allowed: list[str] = Field(
        list(ALLOWED_KINDS),
        description="Kinds of values that may stand in tables and reports: DICOM keywords, or names such as EXIF Make.",
    )


class JobConfig(Section):
    """The whole job file."""

    version: Literal[1] = Field(1, description="Version of the job file's format.")
    input: InputConfig = Field(description="Where the archive lies, and how its studies are found.")
    model: ModelConfig = Field(ModelConfig(), description="Which model scores, with which weights and precision.")
    output: OutputConfig = Field(description="Where results are written.")
    shards: ShardsConfig = Field(ShardsConfig(), description="How images are grouped into shards.")
    cluster: ClusterConfig = Field(ClusterConfig(), description="The actors, and what each of them gets.")
    limits: LimitsConfig = Field(LimitsConfig(), description="Sizes, timeouts, and when a run gives up.")
    evaluation: EvaluationConfig = Field(
        EvaluationConfig(), description="The tables of labels and reads, and the settings of the statistics."
    )
    disclosure: DisclosureConfig = Field(DisclosureConfig(), description="What export shareable withholds.")
    privacy: PrivacyConfig = Field(PrivacyConfig(), description="What privacy check does not search for.")
    training: TrainingConfig | None = Field(
        None, description="How a model is trained, for the command `train`. Scoring does not read it."
    )
