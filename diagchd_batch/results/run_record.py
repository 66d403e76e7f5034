"""The run record: what was run, with what, when and with which outcome. One is public, one is full and private."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import FingerprintFields
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.model.packages.decision_files import PackageDecisions
from diagchd_batch.results.counts import RunCounts
from diagchd_batch.storage import Store

RunStatus = Literal["running", "finished", "failed", "interrupted", "stopped"]
Selection = Literal["all", "new", "failed"]
"""The part of the input that a run plans: all, what is new or changed since its parent, or what failed in its parent's
lineage."""

OnDamaged: TypeAlias = Callable[[str, DamagedRecordError], object]
"""Receives the id of a run whose record cannot be read, and the error."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecord(_Section):
    """The model that scored. `card` is its card at that time. `batch_size` was resolved once for the run."""

    name: str
    weights_digest: str
    architecture: str
    preprocessing: str
    precision: str
    height: int
    width: int
    chd_threshold: float
    batch_size: int
    card: dict[str, Any]
    decisions: PackageDecisions | None = Field(
        None, description="The operating points and the calibration of the model's package, with their digests."
    )


class PlanRecord(_Section):
    """The plan in numbers. Byte sizes are left out, because they would tell which archive it was."""

    frames: str
    n_studies: int
    n_subjects: int
    n_images: int
    n_masks: int
    n_shards: int
    n_excluded: int
    subjects_given: bool


class ChangedShard(_Section):
    """A score file that was lost after the run had finished, and was accepted with other bytes when scored again.

    `sha256_before` has the digest of each file that attempts at the shard had made before.
    """

    shard: int
    sha256_before: list[str]
    sha256_after: str


class CrossValidation(_Section):
    """The folds of the training whose out-of-fold predictions a run is.

    `rule` is a value of `training.folds.rule`, and `n_folds` the number of folds that hold studies out.
    """

    rule: str
    n_folds: int


class RunRecord(JsonRecord):
    """`runs/run_id=R/run.json`, public: no URI, no secret, no identifier.

    `scoring_s` and `images_per_s` cover all submissions of the run, without the time between them.
    """

    remedy: ClassVar[str] = (
        "restore it from a backup, or delete it and resume the run to write it again with the command that started it"
    )

    record_version: Literal[1] = 1
    run_id: str
    parent_run_id: str | None = Field(None, description="The run whose lineage this one continues.")
    selection: Selection = "all"
    fingerprint: str
    fingerprint_fields: FingerprintFields
    package_version: str
    schema_version: int = Field(1, description="The version that its tables were written with.")
    status: RunStatus
    exit_code: int | None = Field(None, description="None while running.")
    simulated: bool
    config: dict[str, Any] = Field(description="The job file without URIs and secrets: `public_config`.")
    model: ModelRecord
    plan: PlanRecord
    counts: RunCounts | None = Field(None, description="None until predictions are derived.")
    versions: dict[str, str] = Field(description="Package name → version.")
    devices: list[str]
    started_at: datetime
    ended_at: datetime | None = None
    submissions: int = Field(ge=1)
    scoring_s: float | None = None
    images_per_s: float | None = None
    changed_shards: list[ChangedShard] = Field([], description="Score files accepted by `--accept-changed-shards`.")
    cross_validation: CrossValidation | None = Field(
        None, description="The folds, if each study was scored by the model that was not trained on it."
    )


class PrivateRunRecord(RunRecord):
    """The full record, under `_private/`: also the job file as it was, where it ran and what stopped it."""

    full_config: dict[str, Any]
    command: list[str]
    hosts: list[str]
    plan_digest: str
    input_digest: str
    reason: str | None = Field(None, description="Why the run ended early; may name files.")
    fold_names: list[str] = Field([], description="Names of the folds, which may be values of a column of the user's.")
    fold_column: str | None = Field(None, description="The column that the folds were made by.")

    def public(self) -> RunRecord:
        """Return the part that everyone who reads the tables may read."""
        return RunRecord.model_validate(self.model_dump(include=set(RunRecord.model_fields)))


_PUBLIC_CONFIG: dict[str, Any] = {
    "version": True,
    "input": {"layout", "frames", "region", "label_map", "simulated"},
    "model": {"name", "members", "precision", "batch_size"},
    "shards": True,
    "cluster": True,
    "limits": True,
    "evaluation": {
        *(
            "image_score",
            "top_k",
            "study_score",
            "exclude",
            "operating_points",
            "package_decisions",
            "prevalence",
            "resamples",
            "seed",
            "disclose",
        )
    },
    "disclosure": True,
}
"""The public settings of a job file, named one by one so that a new setting is private until somebody decides."""


def public_config(config: JobConfig) -> dict[str, Any]:
    """Return a job file's settings without URIs, paths and the names of readers' or covariates' columns."""
    public = config.model_dump(mode="json", include=_PUBLIC_CONFIG)
    if "/" in config.model.name:  # the location of a model package; `ModelRecord.name` has the name on its card
        del public["model"]["name"]
    return public


def write_run_record(storage: Store, private: Store, record: PrivateRunRecord) -> None:
    """Replace both records of a run atomically, the full one first.

    Args:
        storage: The output.
        private: The private tree.
        record: The full record. The public one is derived from it.
    """
    record.write(private, output_layout.private_run_record(record.run_id))
    record.public().write(storage, output_layout.run_record(record.run_id))


def read_run_record(storage: Store, run_id: str) -> RunRecord | None:
    """Return the public record of a run, or None where there is none.

    Args:
        storage: The output.
        run_id: The run's id.

    Raises:
        DamagedRecordError: The record cannot be read.
    """
    return RunRecord.read(storage, output_layout.run_record(run_id))


def read_run_records(storage: Store, run_ids: Iterable[str], on_damaged: OnDamaged | None = None) -> list[RunRecord]:
    """Return the public records of runs that have one.

    Args:
        storage: The output.
        run_ids: The runs.
        on_damaged: Receives the run id and the error of each record that cannot be read, which is then left out.

    Raises:
        DamagedRecordError: A record cannot be read, and `on_damaged` is None.
    """
    records = []
    for run_id in run_ids:
        try:
            record = read_run_record(storage, run_id)
        except DamagedRecordError as error:
            if on_damaged is None:
                raise
            on_damaged(run_id, error)
        else:
            records += [record] if record else []
    return records


def read_private_run_record(private: Store, run_id: str) -> PrivateRunRecord | None:
    """Return the full record of a run, or None where there is none.

    Args:
        private: The private tree.
        run_id: The run's id.

    Raises:
        DamagedRecordError: The record cannot be read.
    """
    return PrivateRunRecord.read(private, output_layout.private_run_record(run_id))
