"""The job file, as pydantic models. Their field descriptions are the documentation that `config schema` prints."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Auto = Literal["auto"]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A block of the job file: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputConfig(Section):
    uri: str = Field(description="Directory or s3://bucket/prefix below which all images and masks lie.")
    layout: Literal["manifest", "tree", "diagchd"] = Field(
        description="manifest: a table names the images; tree: one directory per study; "
        "diagchd: IMAGE/<label>/… with MASK/<label>/…"
    )
    manifest: str | None = Field(None, description="The manifest (CSV or Parquet), for layout manifest.")
    frames: Literal["all", "first", "middle"] = Field(
        "all", description="Which frames of a multi-frame file are scored where the manifest names none."
    )
    label_map: dict[int, Annotated[int, Field(ge=0, le=2)]] | None = Field(
        None, description="Grey value in the masks → class (0 background, 1 septum, 2 heart); default 0, 1, 2."
    )
    simulated: bool = Field(False, description="The images are simulated; said in every table and report.")

    @model_validator(mode="after")
    def _manifest_goes_with_layout(self) -> "InputConfig":
        if (self.layout == "manifest") != (self.manifest is not None):
            raise ValueError("input.manifest and layout: manifest go together; give both or neither")
        return self


class ModelConfig(Section):
    name: str = Field(
        "diagchd",
        description="A bundled model (diagchd, diagchd-compact), the path of a model package with a "
        "slash in it (./mine), or s3://bucket/prefix.",
    )
    weights: str = Field(
        "bundled",
        description="bundled (those in the model package), a checkpoint's path (own or original .h5; on a "
        "cluster the same on every node), or seed:N for tests.",
    )
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_size: Auto | PositiveInt = Field("auto", description="Images a batch; resolved once per run and stored.")


class OutputConfig(Section):
    uri: str = Field(description="Where the tables go; may be shared among runs.")
    private_uri: str | None = Field(
        None, description="Where identified data go (key, plan, sources); default: private/ under output.uri."
    )


class ShardsConfig(Section):
    images_per_shard: Auto | PositiveInt = Field("auto", description="256 to 2,048, aiming at 5,000 shards at most.")


class ActorsConfig(Section):
    min: PositiveInt = 1
    max: Auto | PositiveInt = Field(
        "auto", description="auto: as many as nodes have room for, also on nodes that come to a cluster during the run."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ActorsConfig":
        if self.max != "auto" and self.max < self.min:
            raise ValueError(f"cluster.actors.max ({self.max}) is below cluster.actors.min ({self.min})")
        return self


class ClusterConfig(Section):
    actors: ActorsConfig = ActorsConfig()
    gpus_per_actor: Auto | Annotated[float, Field(ge=0)] = "auto"
    cpus_per_actor: Auto | PositiveFloat = "auto"
    threads_per_actor: Auto | PositiveInt = Field(
        "auto",
        description="Of the model's operations on a CPU; auto: the actor's cores. The full network's last bits depend "
        "on it: fix it for runs that shall have the same bytes with other numbers of actors.",
    )


class LimitsConfig(Section):
    max_failed_fraction: Probability = Field(0.5, description="Stops a run above it, from 200 frames on.")
    max_pixels: PositiveInt = Field(50_000_000, description="Pixels of one frame, checked before decoding.")
    max_file_bytes: PositiveInt = Field(1_073_741_824, description="Size of one file, checked before reading.")
    max_attempts: PositiveInt = Field(4, description="Attempts at a shard within one submission.")
    decode_timeout_s: PositiveFloat = Field(60.0, description="For one answer (a frame), where decoding is isolated.")
    decode_memory_bytes: PositiveInt = Field(4_294_967_296, description="Of an isolated decoder's process.")
    object_timeout_s: PositiveFloat = Field(300.0, description="Retries of one object end after it.")
    stall_timeout_s: PositiveFloat = Field(900.0, description="A worker without progress for so long ends itself.")


class OperatingPoint(Section):
    name: str
    threshold: Probability
    chosen_on: str = Field(
        description="Data the threshold was chosen on, or 'model card'; 'evaluated cohort' is optimistic."
    )


class PrimaryEndpoint(Section):
    endpoint: str
    comparator: str
    margin: float = Field(0.0, description="Non-inferiority margin; 0: superiority.")


class EvaluationConfig(Section):
    reference: str | None = Field(None, description="CSV: study_id, label[, diagnosis][, method].")
    readers: str | None = Field(
        None, description="CSV, long: study_id, reader[, session][, arm], status, call[, score]."
    )
    covariates: str | None = Field(None, description="CSV: study_id, …")
    cut_points: dict[str, list[float]] = Field(
        default_factory=dict, description="Covariate → cut points of its levels."
    )
    study_score: Literal["mean", "max", "median"] = "mean"
    operating_points: list[OperatingPoint] = [OperatingPoint(name="default", threshold=0.5, chosen_on="model card")]
    prevalence: list[Annotated[float, Field(gt=0, lt=1)]] = Field([0.01], description="For PPV and NPV elsewhere.")
    primary: PrimaryEndpoint | None = None
    proportion_interval: Literal["wilson", "exact"] = Field(
        "wilson", description="Of sensitivity, specificity, PPV, NPV, accuracy; exact: Clopper-Pearson."
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    seed: int = 20_240_229
    disclose: bool = Field(False, description="Readers' and covariates' own names in tables, not tokens.")


class DisclosureConfig(Section):
    min_cell: PositiveInt = Field(10, description="Smaller cells are suppressed in `export shareable`.")


class JobConfig(Section):
    """A job file."""

    version: Literal[1] = 1
    input: InputConfig
    model: ModelConfig = ModelConfig()
    output: OutputConfig
    shards: ShardsConfig = ShardsConfig()
    cluster: ClusterConfig = ClusterConfig()
    limits: LimitsConfig = LimitsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    disclosure: DisclosureConfig = DisclosureConfig()
