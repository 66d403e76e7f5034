"""Opens and checks a job before any work is done: its places, model, actors, and the run that it means."""

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from diagchd_batch.cluster.resources import Cluster, NodeResources
from diagchd_batch.config.job_file import JobConfig, LimitsConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.errors import ConfigError
from diagchd_batch.model.batch_size import choose_batch_size, memory_for_batch
from diagchd_batch.model.spec import BUNDLED, ModelSpec, resolve_model
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.scoring.driver.actor_plan import ActorPlan, plan_actors
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.lineage_selection import selection_of
from diagchd_batch.scoring.driver.run_identity.archive_binding import (
    InputRoot,
    bind_input_root,
    move_input_root,
    resolve_input_root,
)
from diagchd_batch.scoring.driver.run_identity.claims import Claim, RunRegistry, Target
from diagchd_batch.scoring.driver.run_identity.identity import Identity, fingerprint_fields, input_fields
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_limits, check_places
from diagchd_batch.scoring.liveness.stop_conditions import StopConditions
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.sources import Source
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.inventory import Progress
from diagchd_batch.studies.plan.make_plan import PlanDraft, draft_plan, freeze_plan
from diagchd_batch.studies.plan.stored_plan import Plan, PlanHead
from diagchd_batch.workspace import Workspace

_MAX_DECODER_THREADS = 16
_GPU_DECODER_THREADS = 4


def model_of(config: JobConfig) -> ModelSpec:
    """Return the model that a job file names.

    Raises:
        ConfigError: The weights were trained on another region of the frames than the job scores.
        WeightsError: The weights cannot be read or do not fit the model.
    """
    model = config.model
    spec = resolve_model(model.name, model.weights, model.precision, model.members)
    trained = spec.card.training
    if trained and spec.weights == BUNDLED and trained.region != config.input.region:
        raise ConfigError(
            f"input.region is {config.input.region}, and model {spec.name} was trained on region {trained.region}, so "
            f"its scores would mean nothing; set input.region: {trained.region}, or take another model"
        )
    return spec


def requested_run(
    config: JobConfig,
    model: ModelSpec,
    registry: RunRegistry,
    root: InputRoot,
    request: RunRequest,
    folds: HeldOutFolds | None = None,
) -> Target:
    """Return the run that a job file and a request mean. `plan`, `submit` and a cluster's client all ask here.

    Args:
        config: The job file.
        model: What `model_of(config)` returned.
        registry: The runs of the job's output.
        root: What `requested_input_root` returned.
        request: What the command line says about the run.
        folds: The folds of the training whose out-of-fold predictions the run is, or None.

    Raises:
        FingerprintMismatchError: The run that was named exists under other settings.
        UsageError: There is nothing yet that the request could build on.
    """
    fields = fingerprint_fields(model, config.input, config.limits, folds.digest if folds else None)
    return registry.target(fields, input_fields(config.input, root.first), request)


def requested_input_root(workspace: Workspace, request: RunRequest) -> InputRoot:
    """Return the root of the job's archive. Writes nothing.

    Args:
        workspace: The workspace of the job.
        request: What the command line says about the run.

    Raises:
        ConfigError: The output belongs to another archive.
    """
    return resolve_input_root(workspace.storage, workspace.private, workspace.archive.uri, moved=request.input_moved)


def max_missing_fraction(limits: LimitsConfig, identity: Identity) -> float:
    """Return the largest fraction of missing images that a new plan may have.

    Files that failed before may all be missing still, so a run that scores only those has no limit.

    Args:
        limits: The job's `limits` block.
        identity: The run.
    """
    return 1.0 if identity.selection == "failed" else limits.max_missing_fraction


@dataclass(frozen=True)
class PreparedJob:
    """A job with everything opened and checked, and the run that it means, which is not claimed yet."""

    config: JobConfig
    workspace: Workspace
    pseudonymizer: Pseudonymizer
    model: ModelSpec
    actors: ActorPlan
    until: datetime | None
    registry: RunRegistry
    input_root: InputRoot
    target: Target
    batch_size: int
    folds: HeldOutFolds | None = None

    @property
    def builds_on(self) -> str | None:
        """The parent of a run that does not exist yet."""
        return None if self.target.exists else self.target.identity.parent_run_id

    def draft(self, progress: Progress) -> AbstractContextManager[PlanDraft]:
        """Draft the plan of a run that does not exist yet. If it builds on another run, it may hold no image."""
        return draft_plan(
            self.config.input,
            self.config.shards,
            self.workspace.archive,
            self.pseudonymizer,
            headers=headers_for(self.config.input, self.workspace.private),
            select=selection_of(self.target.identity, self.workspace.storage, self.workspace.private),
            progress=progress,
            max_missing_fraction=max_missing_fraction(self.config.limits, self.target.identity),
        )

    def claim(self) -> "Job":
        """Make the run this process's own, or join the one that another driver has claimed."""
        claim = self.registry.claim(
            self.target,
            batch_size=self.batch_size,
            intra_op_threads=_intra_op_threads(self.config, self.actors),
            chd_threshold=self.model.chd_threshold,
            view_check_digest=self.model.view_check_digest,
        )
        return Job(self, claim, submission=secrets.token_hex(4))


@dataclass(frozen=True)
class Job:
    """One submission of one run: a prepared job whose run is claimed."""

    prepared: PreparedJob
    claim: Claim
    submission: str

    @property
    def config(self) -> JobConfig:
        """The job file."""
        return self.prepared.config

    @property
    def input(self) -> Source:
        """The source of the images."""
        return self.prepared.workspace.archive

    @property
    def output(self) -> Store:
        """The store that results are written to."""
        return self.prepared.workspace.storage

    @property
    def private(self) -> Store:
        """The store of the private tree."""
        return self.prepared.workspace.private

    @property
    def pseudonymizer(self) -> Pseudonymizer:
        """What turns identifiers into tokens."""
        return self.prepared.pseudonymizer

    @property
    def actors(self) -> ActorPlan:
        """How many actors the run starts, and how many cores and GPUs each gets."""
        return self.prepared.actors

    @property
    def identity(self) -> Identity:
        """What the run was claimed with. It stays the same in every submission."""
        return self.claim.identity

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.claim.identity.run_id

    @cached_property
    def model(self) -> ModelSpec:
        """The model, with the decision threshold and the view check that the run began with."""
        return self.identity.model_of_run(self.prepared.model)

    @property
    def table_metadata(self) -> dict[bytes, bytes]:
        """The key-value metadata of the run's Parquet files."""
        return table_metadata(
            run_id=self.run_id, fingerprint=self.identity.fingerprint, simulated=self.config.input.simulated
        )

    @cached_property
    def short_timeout(self) -> Workspace:
        """The job's places with a time-out for work that must not wait."""
        return self.prepared.workspace.with_short_timeout(self.config.limits)

    def plan(self, progress: Progress) -> Plan:
        """Return the run's frozen plan, and make it if it is not there. Then bind the output to its input root."""
        folds = self.prepared.folds
        plan = freeze_plan(
            self.config.input,
            self.config.shards,
            self.input,
            self.private,
            self.run_id,
            self.pseudonymizer,
            headers=headers_for(self.config.input, self.private),
            select=folds.select if folds else selection_of(self.identity, self.output, self.private),
            progress=progress,
            max_missing_fraction=max_missing_fraction(self.config.limits, self.identity),
        )
        bind_input_root(self.private, self.prepared.input_root)
        return plan

    @property
    def watched_limits(self) -> LimitsConfig:
        """The limits that stop the run. Files that failed before may all fail again, so those do not stop it."""
        limits = self.config.limits
        return limits.model_copy(update={"max_failed_fraction": 1.0}) if self.identity.selection == "failed" else limits

    def settings(self, plan: PlanHead) -> RunSettings:
        """Return what the workers of this submission receive."""
        return RunSettings(
            run_id=self.run_id,
            submission=self.submission,
            fingerprint=self.identity.fingerprint,
            input_uri=self.input.uri,
            output_uri=self.output.uri,
            private_uri=self.private.uri,
            model=self.model,
            batch_size=self.identity.batch_size,
            intra_op_threads=self.identity.intra_op_threads,
            decoder_threads=_decoder_threads(self.actors),
            frame_rule=self.config.input.frame_rule,
            region=self.config.input.region,
            label_map=self.config.input.label_map,
            limits=self.config.limits,
            simulated=self.config.input.simulated,
            has_masks=plan.n_masks > 0,
            until_s=self._until_s,
            has_node_proof=True,
            dicomweb=self.config.input.dicomweb,
            requests_per_image=plan.requests_per_image,
            min_memory_bytes=self._min_memory_bytes,
            scores_by_fold=self.prepared.folds is not None,
            also_stopped_by=self._also_stopped_by,
        )

    @property
    def _min_memory_bytes(self) -> int:
        """What the batch needs that was chosen for the nodes of the start, for nodes that join later."""
        is_chosen = self.config.model.batch_size == "auto" and not self.actors.gpus and self.identity.batch_size > 1
        return memory_for_batch(self.model, self.identity.batch_size) if is_chosen else 0

    def gate(self) -> StopConditions:
        """Return the gate that the driver asks while it waits. Each worker has its own."""
        return StopConditions(
            self.short_timeout.private,
            self.run_id,
            self.submission,
            self._until_s,
            also_stopped_by=self._also_stopped_by,
        )

    @property
    def _also_stopped_by(self) -> str | None:
        return self.prepared.folds.stop_request if self.prepared.folds else None

    @property
    def _until_s(self) -> float | None:
        until = self.prepared.until
        return None if until is None else until.timestamp()


def prepare_job(
    config: JobConfig,
    cluster: Cluster,
    environ: Mapping[str, str],
    request: RunRequest,
    until: datetime | None,
    folds: HeldOutFolds | None = None,
) -> PreparedJob:
    """Open and check everything that a run needs, before any work is done.

    Args:
        config: The job file.
        cluster: Where the actors will run.
        environ: The environment variables, which may hold the identifier key.
        request: What the command line says about the run.
        until: When the last shard must have ended; None for no deadline.
        folds: The folds of the training that `model.name` is the package of, if each study is to be scored by the
            model that was not trained on it. The package's view check was fitted on these very images, so it does not
            judge them.

    Returns:
        The opened job, which has not claimed its run yet.

    Raises:
        DiagchdBatchError: Anything that would stop the run later.
    """
    check_limits(config.limits)
    refuse_overlapping_places(config)
    model = model_of(config)
    if folds:
        model = model.with_view_check(None)
    workspace = Workspace.of_job(config, environ)
    check_places(workspace.archive, workspace.storage, workspace.private)
    refuse_unfinished_deletion(workspace.private)
    key = workspace.create_key()
    nodes = cluster.nodes()
    actors = plan_actors(config.cluster, nodes, elastic=cluster.elastic)
    root = requested_input_root(workspace, request)
    if request.input_moved:
        move_input_root(workspace.private, root)
    registry = RunRegistry(workspace.storage, workspace.private, key)
    return PreparedJob(
        config=config,
        workspace=workspace,
        pseudonymizer=Pseudonymizer(key),
        model=model,
        actors=actors,
        until=until,
        registry=registry,
        input_root=root,
        target=requested_run(config, model, registry, root, request, folds),
        batch_size=_batch_size(config, model, nodes, actors),
        folds=folds,
    )


def _batch_size(config: JobConfig, model: ModelSpec, nodes: list[NodeResources], actors: ActorPlan) -> int:
    """Return the batch size of the job file, or one that fits the smallest node on which an actor may run."""
    if config.model.batch_size != "auto":
        return config.model.batch_size
    if actors.gpus:
        return choose_batch_size(model, device="gpu")
    memory_bytes = min(int(node.memory_bytes * min(1.0, actors.cpus / node.cpus)) for node in nodes)
    return choose_batch_size(model, memory_bytes, device="cpu")


def _intra_op_threads(config: JobConfig, actors: ActorPlan) -> int:
    """Return the threads of the model's operations: all cores of an actor, less one for the decoders from three on."""
    if config.cluster.threads_per_actor != "auto":
        return config.cluster.threads_per_actor
    cores = max(1, int(actors.cpus))
    return cores if cores <= 2 else cores - 1


def _decoder_threads(actors: ActorPlan) -> int:
    """Return one thread more than the actor has cores, because reading waits. With a GPU the cores do nothing else."""
    least = _GPU_DECODER_THREADS if actors.gpus else 2
    return min(_MAX_DECODER_THREADS, max(least, int(actors.cpus) + 1))
