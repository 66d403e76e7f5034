"""Opens a job: storages, checks before work, key, model, actors, and the run that it means."""

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from diagchd_batch import output_layout
from diagchd_batch.config.models import JobConfig, LimitsConfig
from diagchd_batch.config.output_places import refuse_output_in_input
from diagchd_batch.model.batch_size import choose_batch_size
from diagchd_batch.model.spec import ModelSpec, resolve_model
from diagchd_batch.process.machine import NodeResources
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.scoring.driver.actor_plan import ActorPlan, Cluster, plan_actors
from diagchd_batch.scoring.driver.identity import (
    Claim,
    Identity,
    RunRegistry,
    RunRequest,
    Target,
    fingerprint_fields,
    input_fields,
)
from diagchd_batch.scoring.driver.lineage_selection import selection_of
from diagchd_batch.scoring.driver.submit_checks import check_limits, check_places
from diagchd_batch.scoring.liveness.shard_gate import ShardGate
from diagchd_batch.scoring.worker.settings import RunSettings, impatience_s
from diagchd_batch.storage import Storage, join_uri, open_storage
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.inventory import Progress
from diagchd_batch.studies.keys import load_or_create_key
from diagchd_batch.studies.plan import Plan, PlanHead
from diagchd_batch.studies.planning import PlanDraft, draft_plan, freeze_plan

_MAX_DECODER_THREADS = 16
_GPU_DECODER_THREADS = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A job with everything opened and resolved: one submission of one run."""

    config: JobConfig
    input: Storage
    output: Storage
    private: Storage
    pseudonymizer: Pseudonymizer
    model: ModelSpec
    actors: ActorPlan
    claim: Claim
    submission: str
    until: datetime | None

    @property
    def identity(self) -> Identity:
        return self.claim.identity

    @property
    def run_id(self) -> str:
        return self.claim.identity.run_id

    @property
    def table_metadata(self) -> dict[bytes, bytes]:
        return table_metadata(
            run_id=self.run_id, fingerprint=self.identity.fingerprint, simulated=self.config.input.simulated
        )

    def impatient(self) -> tuple[Storage, Storage]:
        """Output and private tree with a short time-out."""
        timeout_s = impatience_s(self.config.limits)
        return (
            open_storage(self.output.uri, object_timeout_s=timeout_s),
            open_storage(self.private.uri, object_timeout_s=timeout_s, owner_only=True),
        )

    def plan(self, progress: Progress) -> Plan:
        """The run's frozen plan, made if it is not there."""
        return freeze_plan(
            self.config.input,
            self.config.shards,
            self.input,
            self.private,
            self.run_id,
            self.pseudonymizer,
            select=selection_of(self.identity, self.output, self.private),
            progress=progress,
        )

    @property
    def watched_limits(self) -> LimitsConfig:
        """Files that failed before may all fail again: that is no sign of a wrong input."""
        limits = self.config.limits
        return limits.model_copy(update={"max_failed_fraction": 1.0}) if self.identity.selection == "failed" else limits

    def settings(self, plan: PlanHead) -> RunSettings:
        """What the workers of this submission get."""
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
            frame_rule=self.config.input.frames,
            label_map=self.config.input.label_map,
            limits=self.config.limits,
            simulated=self.config.input.simulated,
            has_masks=plan.n_masks > 0,
            until_s=self._until_s,
            has_node_proof=True,
        )

    def gate(self) -> ShardGate:
        """What the driver asks while it waits; the workers have their own."""
        return ShardGate(self.impatient()[1], self.run_id, self.submission, self._until_s)

    @property
    def _until_s(self) -> float | None:
        return None if self.until is None else self.until.timestamp()


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job with everything opened and checked, and the run that it means, not yet claimed."""

    config: JobConfig
    input: Storage
    output: Storage
    private: Storage
    pseudonymizer: Pseudonymizer
    model: ModelSpec
    actors: ActorPlan
    until: datetime | None
    registry: RunRegistry
    target: Target
    batch_size: int

    @property
    def builds_on(self) -> str | None:
        """The parent of a run that is yet to be begun."""
        return None if self.target.exists else self.target.identity.parent_run_id

    def draft(self, progress: Progress) -> AbstractContextManager[PlanDraft]:
        """The plan of the run that is yet to be begun; of one that builds on another it may have no image."""
        return draft_plan(
            self.config.input,
            self.config.shards,
            self.input,
            self.pseudonymizer,
            select=selection_of(self.target.identity, self.output, self.private),
            progress=progress,
        )

    def claim(self) -> Job:
        claim = self.registry.claim(
            self.target,
            batch_size=self.batch_size,
            intra_op_threads=_intra_op_threads(self.config, self.actors),
            chd_threshold=self.model.chd_threshold,
        )
        return Job(
            config=self.config,
            input=self.input,
            output=self.output,
            private=self.private,
            pseudonymizer=self.pseudonymizer,
            model=replace(self.model, chd_threshold=claim.identity.chd_threshold),
            actors=self.actors,
            claim=claim,
            submission=secrets.token_hex(4),
            until=self.until,
        )


def prepare_job(
    config: JobConfig, cluster: Cluster, environ: Mapping[str, str], request: RunRequest, until: datetime | None
) -> PreparedJob:
    """Raises DiagchdBatchError for anything that would stop the run later anyway, before any work is done."""
    check_limits(config.limits)
    refuse_output_in_input(config)
    model = resolve_model(config.model.name, config.model.weights, config.model.precision)
    timeout_s = config.limits.object_timeout_s
    private_uri = config.output.private_uri or join_uri(config.output.uri, output_layout.PRIVATE)
    input_storage = open_storage(config.input.uri, object_timeout_s=timeout_s)
    output = open_storage(config.output.uri, object_timeout_s=timeout_s)
    private = open_storage(private_uri, object_timeout_s=timeout_s, owner_only=True)
    check_places(input_storage, output, private)
    key = load_or_create_key(private, environ)
    nodes = cluster.nodes()
    actors = plan_actors(config.cluster, nodes, elastic=cluster.elastic)
    registry = RunRegistry(output, private, key)
    fields = fingerprint_fields(model, config.input, config.limits)
    return PreparedJob(
        config=config,
        input=input_storage,
        output=output,
        private=private,
        pseudonymizer=Pseudonymizer(key),
        model=model,
        actors=actors,
        until=until,
        registry=registry,
        target=registry.target(fields, input_fields(config.input), request),
        batch_size=_batch_size(config, model, nodes, actors),
    )


def _batch_size(config: JobConfig, model: ModelSpec, nodes: list[NodeResources], actors: ActorPlan) -> int:
    """The one asked for, or one that fits the memory of the smallest node that an actor may run on."""
    if config.model.batch_size != "auto":
        return config.model.batch_size
    if actors.gpus:
        return choose_batch_size(model, device="gpu")
    memory_bytes = min(int(node.memory_bytes * min(1.0, actors.cpus / node.cpus)) for node in nodes)
    return choose_batch_size(model, memory_bytes, device="cpu")


def _intra_op_threads(config: JobConfig, actors: ActorPlan) -> int:
    """For the model's operations: all of an actor's cores, but from three on one is left to the decoders."""
    if config.cluster.threads_per_actor != "auto":
        return config.cluster.threads_per_actor
    cores = max(1, int(actors.cpus))
    return cores if cores <= 2 else cores - 1


def _decoder_threads(actors: ActorPlan) -> int:
    """As many as the actor has cores, and one more, since reading waits; on a GPU the cores do nothing else."""
    least = _GPU_DECODER_THREADS if actors.gpus else 2
    return min(_MAX_DECODER_THREADS, max(least, int(actors.cpus) + 1))
