"""`plan`: what a submit would do, found out without writing anything to the output."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import current_fingerprint, fingerprint
from diagchd_batch.config.job_file import JobConfig, PrimaryEndpoint
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.errors import ConfigError
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.runs.details_of_plan import PlanDetails, write_plan_details
from diagchd_batch.scoring.driver.lineage_selection import selection_of
from diagchd_batch.scoring.driver.prepare_job import (
    max_missing_fraction,
    model_of,
    requested_input_root,
    requested_run,
)
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.scoring.driver.run_identity.identity import Identity, fingerprint_fields
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_limits, check_writable
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.header_index.stored_index import newest_head
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import preview_plan
from diagchd_batch.studies.plan.problem_files import count_duplicates
from diagchd_batch.studies.plan.stored_plan import Plan, PlanHead, open_plan
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.studies.tables.evaluation_inputs import (
    StudyMatch,
    match_studies,
    name_by_study_id,
    read_covariates,
    read_readers,
    read_reference,
    refuse_accession_numbers,
    refuse_contradicting_labels,
)
from diagchd_batch.uris import is_dicomweb_uri
from diagchd_batch.workspace import Workspace

WORKERS_START_S = 25.0
"""Seconds from the command to the first scored image: Ray starts, and each worker loads the model. Measured with the
bundled models on two CPU cores."""


@dataclass(frozen=True, slots=True)
class JobPreview:
    """What a submit would do.

    Attributes:
        model: The model that would score.
        head: The plan in numbers.
        run_id: The run that the job would resume or repeat; None if it would begin a new one.
        builds_on: The parent of the new run; None if it has none.
        done_shards: Shards that the run has committed.
        done_images: Images of those shards.
        images_per_s: The speed to expect, in image files; None if it is not known. Where the index of headers tells
            the number of frames, it is the speed in frames over the frames of an image.
        images_per_s_source: Where that speed comes from.
        most_images_per_s: The speed that the limit of requests to a PACS allows; None for other archives.
        headers_listed_at: When the archive was listed for the index of headers; None if the layout needs none.
        matches: The name of each evaluation table → how its studies match the plan's.
        details: The file in the private tree that names missing, skipped and duplicate files; None if it was not asked
            for.
        n_duplicates: Images with the content of another one; None if only reading the files would tell.
    """

    model: ModelSpec
    head: PlanHead
    run_id: str | None
    builds_on: str | None
    done_shards: int
    done_images: int
    images_per_s: float | None
    images_per_s_source: str | None
    most_images_per_s: float | None
    headers_listed_at: datetime | None
    matches: Mapping[str, StudyMatch]
    details: PlanDetails | None = None
    n_duplicates: int | None = None

    @property
    def frames_per_image(self) -> float | None:
        """Frames that are scored of an image on average; None if the index of headers does not tell it."""
        n_frames = self.head.n_frames
        return n_frames / self.head.n_images if n_frames and self.head.n_images else None

    @property
    def images_left(self) -> int:
        """Images that are still to be scored."""
        return self.head.n_images - self.done_images

    @property
    def expected_s(self) -> float | None:
        """Seconds until they are scored, with the start of the workers; None if the speed is not known."""
        if not self.images_per_s:
            return None
        return WORKERS_START_S + self.images_left / self.images_per_s if self.images_left else 0.0


def preview_job(
    config: JobConfig,
    environ: Mapping[str, str],
    *,
    request: RunRequest = RunRequest(),
    on_listed: Callable[[int], None] | None = None,
    with_details: bool = False,
) -> JobPreview:
    """Plan a job, check its evaluation files, and look for the run that it would resume. Writes nothing but details.

    The evaluation files are matched only with a plan of the whole input.

    Args:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        request: What the command line says about the run.
        on_listed: Receives the number of objects listed so far.
        with_details: Whether the names of missing, skipped and duplicate files are written to the private tree, even if
            the plan is then refused.

    Returns:
        The run that the job means, its plan, and what is left to score.

    Raises:
        DiagchdBatchError: What `submit` would raise: ConfigError, InputError, WeightsError, StorageFault or
            FingerprintMismatchError.
    """
    check_limits(config.limits)
    refuse_overlapping_places(config)
    model = model_of(config)
    workspace = Workspace.of_job(config, environ)
    check_readable(workspace.archive)
    check_writable(workspace)
    key = workspace.find_key()
    found = begun = None
    if key is not None:
        root = requested_input_root(workspace, request)
        target = requested_run(config, model, RunRegistry(workspace.storage, workspace.private, key), root, request)
        found, begun = (target.identity, None) if target.exists else (None, target.identity)
    is_planned = found is not None and workspace.private.stat(output_layout.plan_head(found.run_id)) is not None
    select = selection_of(begun, workspace.storage, workspace.private) if begun else None
    pseudonymizer = Pseudonymizer(key or secrets.token_bytes(32))
    details: PlanDetails | None = None
    n_duplicates: int | None = None

    def inspect(database: ScratchDatabase) -> None:
        nonlocal details, n_duplicates
        n_duplicates = count_duplicates(database)
        if with_details:
            details = write_plan_details(config.input, workspace, database)

    preview = preview_plan(
        config.input,
        config.shards,
        workspace.archive,
        pseudonymizer,
        headers=headers_for(config.input, workspace.private),
        select=select,
        progress=on_listed,
        max_missing_fraction=1.0 if is_planned else _max_missing_fraction(config, begun),
        inspect=inspect,
    )
    index = newest_head(workspace.private) if config.input.layout == "dicom" else None
    matches = {} if select else _match_evaluation_files(config, preview.studies)
    done: set[int] = set()
    head = preview.head
    if found is not None and is_planned:
        # A run that is resumed keeps the plan that it began with.
        head, done = open_plan(workspace.private, found.run_id).head, committed_shards(workspace.storage, found.run_id)
    earlier = _earlier_run(workspace, fingerprint(fingerprint_fields(model, config.input, config.limits)))
    preview_without_speed = JobPreview(
        model=model,
        head=head,
        run_id=found.run_id if found else None,
        builds_on=begun.parent_run_id if begun else None,
        done_shards=len(done),
        done_images=sum(size.n_images for shard, size in enumerate(head.shards) if shard in done),
        images_per_s=None,
        images_per_s_source=None,
        most_images_per_s=config.input.dicomweb.max_requests_per_second / head.requests_per_image
        if is_dicomweb_uri(workspace.archive.uri)
        else None,
        headers_listed_at=index[1].updated_at if index else None,
        matches=matches,
        details=details,
        n_duplicates=n_duplicates,
    )
    if earlier is None:
        return preview_without_speed
    return _with_speed(
        preview_without_speed, _speed_of(earlier, preview_without_speed), "the latest run with this fingerprint"
    )


def _max_missing_fraction(config: JobConfig, begun: Identity | None) -> float:
    return max_missing_fraction(config.limits, begun) if begun else config.limits.max_missing_fraction


def with_measured_speed(preview: JobPreview) -> JobPreview:
    """Time the model on this machine, and return the preview with that speed."""
    from diagchd_batch.runs.bench import measure_model  # loads the model's runtime

    images_per_s, device = measure_model(preview.model)
    source = f"one actor on this machine's {device}"
    return _with_speed(preview, images_per_s / (preview.frames_per_image or 1), source)  # the model scores frames


def _with_speed(preview: JobPreview, images_per_s: float, source: str) -> JobPreview:
    """Return the preview with a speed: the given one, or the limit of requests to the PACS if that is lower."""
    most = preview.most_images_per_s
    if most is not None and most < images_per_s:
        images_per_s, source = most, "input.dicomweb.max_requests_per_second"
    return replace(preview, images_per_s=images_per_s, images_per_s_source=source)


def read_evaluation_files(job: JobConfig) -> dict[str, pd.DataFrame]:
    """Return the rows of each evaluation table that the job names.

    Raises:
        ConfigError: `evaluation.primary` names a comparison that these tables do not allow.
        InputError: A table has a row that cannot be used, or names studies by accession numbers in a layout without
            them.
    """
    config = job.evaluation
    tables = {}
    if config.reference:
        tables["reference"] = read_reference(config.reference)
    if config.readers:
        tables["readers"] = read_readers(config.readers)
    if config.covariates:
        tables["covariates"] = read_covariates(config.covariates)
    for name, table in tables.items():
        refuse_accession_numbers(table, f"evaluation.{name}", job.input.layout)
    if config.primary:
        _check_primary(config.primary, tables.get("readers"))
    return tables


def _check_primary(primary: PrimaryEndpoint, readers: pd.DataFrame | None) -> None:
    """Refuse a primary comparison that the evaluation cannot make. Names of readers are not shown."""
    from diagchd_batch.statistics.classification.confusion import RATES  # with a library that takes a second to load

    endpoints = ("roc_auc", *RATES)
    if primary.endpoint not in endpoints:
        raise ConfigError(f"evaluation.primary.endpoint is none of {', '.join(endpoints)}; write one of them")
    if readers is None:
        raise ConfigError("evaluation.primary compares the model with readers; name their table in evaluation.readers")
    if primary.comparator not in ("readers_mean", "majority") and primary.comparator not in set(readers["reader"]):
        raise ConfigError(
            "evaluation.primary.comparator is neither readers_mean nor majority, nor a reader of evaluation.readers; "
            "write one of them"
        )


def check_study_names(job: JobConfig, plan: Plan) -> None:
    """Check that the evaluation tables name the studies of a plan unambiguously, before anything is scored.

    Args:
        job: The job file.
        plan: The plan of the run.

    Raises:
        InputError: An accession number of a table belongs to several studies.
    """
    tables = {name: table for name, table in read_evaluation_files(job).items() if "study_id" not in table}
    if tables:
        studies = plan.studies().read_all()
        for name, table in tables.items():
            name_by_study_id(table, f"evaluation.{name}", studies)


def _earlier_run(workspace: Workspace, digest: str) -> RunRecord | None:
    """Return the run with this fingerprint that ended last and whose speed is known."""
    ended = [
        (run.ended_at, run.run_id, run)
        for run in workspace.runs(on_damaged=lambda *_: None)
        if current_fingerprint(run.fingerprint, run.fingerprint_fields) == digest and run.ended_at and run.images_per_s
    ]
    return max(ended, key=lambda found: found[:2])[2] if ended else None


def _speed_of(run: RunRecord, preview: JobPreview) -> float:
    """Return the images per second to expect after an earlier run, whose images may have had more or fewer frames."""
    assert run.images_per_s is not None
    if preview.frames_per_image is None or run.counts is None or not run.counts.n_images:
        return run.images_per_s
    return run.images_per_s * (run.counts.n_rows / run.counts.n_images) / preview.frames_per_image


def _match_evaluation_files(config: JobConfig, studies: pa.Table) -> dict[str, StudyMatch]:
    tables = {
        name: name_by_study_id(table, f"evaluation.{name}", studies)
        for name, table in read_evaluation_files(config).items()
    }
    if "reference" in tables:
        refuse_contradicting_labels(tables["reference"], studies)
    return {name: match_studies(table, studies) for name, table in tables.items()}
