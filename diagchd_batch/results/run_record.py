"""The run record: what was run, with what, when, and what came of it. One public, one full and private."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diagchd_batch import output_layout
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.results.counts import RunCounts
from diagchd_batch.storage import Store

RunStatus = Literal["running", "finished", "failed", "interrupted", "stopped"]
Selection = Literal["all", "new", "failed"]
"""What of the input a run plans: all; what is new or changed since its parent; or what its parent's lineage failed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecord(_Section):
    """The model that scored. `card` is the bundled card as it was; `batch_size` was resolved once for the run."""

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


class PlanRecord(_Section):
    """The plan in numbers, without byte sizes: those tell which archive it was."""

    frames: str
    n_studies: int
    n_subjects: int
    n_images: int
    n_masks: int
    n_shards: int
    n_excluded: int
    subjects_given: bool


class DamagedRecordError(RunFault):
    """A run record is there and cannot be read; the message names the file and the way on."""


class RunRecord(_Section):
    """`runs/run_id=R/run.json`, public: no URI, no secret, no identifier.

    `scoring_s` and `images_per_s` are of all submissions of the run together, waiting for resumption left out.
    """

    record_version: Literal[1] = 1
    run_id: str
    parent_run_id: str | None = Field(None, description="The run whose lineage this one continues.")
    selection: Selection = "all"
    fingerprint: str
    fingerprint_fields: dict[str, Any]
    package_version: str
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


class PrivateRunRecord(RunRecord):
    """The full record, under `private/`: the job file as it was, where it ran, what stopped it."""

    full_config: dict[str, Any]
    command: list[str]
    hosts: list[str]
    plan_digest: str
    input_digest: str
    reason: str | None = Field(None, description="Why the run ended early; may name files.")

    def public(self) -> RunRecord:
        """The part that may be read by everyone who may read the tables."""
        return RunRecord.model_validate(self.model_dump(include=set(RunRecord.model_fields)))


_PUBLIC_CONFIG: dict[str, Any] = {
    "version": True,
    "input": {"layout", "frames", "label_map", "simulated"},
    "model": {"name", "precision", "batch_size"},
    "shards": True,
    "cluster": True,
    "limits": True,
    "evaluation": {"study_score", "operating_points", "prevalence", "resamples", "seed", "disclose"},
    "disclosure": True,
}
"""What of a job file is public: named one by one, so that a new option stays private until somebody decides."""


def public_config(config: JobConfig) -> dict[str, Any]:
    """A job file's settings without URIs, paths and the names of readers' or covariates' columns."""
    public = config.model_dump(mode="json", include=_PUBLIC_CONFIG)
    if "/" in config.model.name:  # the location of a model package; `ModelRecord.name` has the name on its card
        del public["model"]["name"]
    return public


def write_run_record(storage: Store, private: Store, record: PrivateRunRecord) -> None:
    """Replaces both records atomically, the full one first."""
    private.replace(output_layout.private_run_record(record.run_id), _to_json(record))
    storage.replace(output_layout.run_record(record.run_id), _to_json(record.public()))


def read_run_record(storage: Store, run_id: str) -> RunRecord | None:
    """The public record of a run, None where there is none. Raises DamagedRecordError."""
    return _read(storage, output_layout.run_record(run_id), RunRecord)


def read_run_records(
    storage: Store, run_ids: Iterable[str], on_damaged: Callable[[str, DamagedRecordError], object] | None = None
) -> list[RunRecord]:
    """The public records of those runs, as far as they have one. One that cannot be read raises DamagedRecordError, or
    is left out once `on_damaged` was told of it.
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
    """The full record of a run, None where there is none. Raises DamagedRecordError."""
    return _read(private, output_layout.private_run_record(run_id), PrivateRunRecord)


Record = TypeVar("Record", bound=RunRecord)


def _to_json(record: RunRecord) -> bytes:
    return (record.model_dump_json(indent=2) + "\n").encode()


def _read(storage: Store, key: str, kind: type[Record]) -> Record | None:
    if storage.stat(key) is None:
        return None
    try:
        return kind.model_validate_json(storage.read(key))
    except ValidationError as error:
        raise DamagedRecordError(
            f"{key} is damaged or of another version of this program ({error.errors()[0]['msg']}); restore it from a "
            "backup, or delete it and the run's _SUCCESS and resume the run to write it again"
        ) from error
