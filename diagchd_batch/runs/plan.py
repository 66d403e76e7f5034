"""What a submit would do, found out without writing anything to the output."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import current_fingerprint, fingerprint
from diagchd_batch.config.models import EvaluationConfig, JobConfig
from diagchd_batch.config.output_places import refuse_output_in_input
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.scoring.driver.identity import RunRequest, fingerprint_fields
from diagchd_batch.scoring.driver.job import model_of, requested_input_root, requested_run
from diagchd_batch.scoring.driver.lineage_selection import selection_of
from diagchd_batch.scoring.driver.submit_checks import check_limits
from diagchd_batch.scoring.driver.workspace import Workspace
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.studies.checks import (
    StudyMatch,
    match_studies,
    read_covariates,
    read_readers,
    read_reference,
    refuse_contradicting_labels,
)
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan import PlanHead, open_plan
from diagchd_batch.studies.planning import preview_plan


@dataclass(frozen=True, slots=True)
class JobPreview:
    """`run_id` is the unfinished or finished run that the job would go on with, None where it would begin a new one;
    `builds_on` is the parent of that.

    `done_*` count what that run has committed. `images_per_s` comes from the latest finished run of the same
    fingerprint in the output; None where there is none. `matches`: evaluation table → how its studies meet the plan's.
    """

    model: ModelSpec
    head: PlanHead
    run_id: str | None
    builds_on: str | None
    done_shards: int
    done_images: int
    images_per_s: float | None
    matches: Mapping[str, StudyMatch]


def preview_job(
    config: JobConfig,
    environ: Mapping[str, str],
    *,
    request: RunRequest = RunRequest(),
    on_listed: Callable[[int], None] | None = None,
) -> JobPreview:
    """Plans the job, checks its evaluation files, and looks for a run that it would resume. Writes nothing.

    Evaluation files are matched with a plan of the whole input alone.
    Raises what `submit` would: ConfigError, InputError, WeightsError, StorageFault, FingerprintMismatchError.
    """
    check_limits(config.limits)
    refuse_output_in_input(config)
    model = model_of(config)
    workspace = Workspace.of_job(config, environ)
    check_readable(workspace.archive)
    key = workspace.find_key()
    found = begun = None
    if key is not None:
        target = requested_run(
            config, model, workspace.registry(key), requested_input_root(workspace, request), request
        )
        found, begun = (target.identity, None) if target.exists else (None, target.identity)
    select = selection_of(begun, workspace.storage, workspace.private) if begun else None
    pseudonymizer = Pseudonymizer(key or secrets.token_bytes(32))
    preview = preview_plan(
        config.input, config.shards, workspace.archive, pseudonymizer, select=select, progress=on_listed
    )
    matches = {} if select else _match_evaluation_files(config.evaluation, preview.studies)
    done: set[int] = set()
    head = preview.head
    if found is not None and workspace.private.stat(output_layout.plan_head(found.run_id)) is not None:
        # a run that is resumed goes on with the plan it began with
        head, done = open_plan(workspace.private, found.run_id).head, committed_shards(workspace.storage, found.run_id)
    digest = fingerprint(fingerprint_fields(model, config.input, config.limits))
    rates = [
        (run.ended_at, run.images_per_s)
        for run in workspace.runs(on_damaged=lambda *_: None)  # it tells how fast the others were
        if current_fingerprint(run.fingerprint, run.fingerprint_fields) == digest and run.ended_at and run.images_per_s
    ]
    return JobPreview(
        model=model,
        head=head,
        run_id=found.run_id if found else None,
        builds_on=begun.parent_run_id if begun else None,
        done_shards=len(done),
        done_images=sum(size.n_images for shard, size in enumerate(head.shards) if shard in done),
        images_per_s=max(rates)[1] if rates else None,
        matches=matches,
    )


def read_evaluation_files(config: EvaluationConfig) -> dict[str, pd.DataFrame]:
    """Table name → rows, of those that the job names. Raises InputError for a row that cannot be taken."""
    tables = {}
    if config.reference:
        tables["reference"] = read_reference(config.reference)
    if config.readers:
        tables["readers"] = read_readers(config.readers)
    if config.covariates:
        tables["covariates"] = read_covariates(config.covariates)
    return tables


def _match_evaluation_files(config: EvaluationConfig, studies: pa.Table) -> dict[str, StudyMatch]:
    tables = read_evaluation_files(config)
    if "reference" in tables:
        refuse_contradicting_labels(tables["reference"], studies)
    return {name: match_studies(table, studies) for name, table in tables.items()}
