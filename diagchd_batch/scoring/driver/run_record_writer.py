"""Keeps a run's record up to date from its driver: what is run, since when, and how it ended."""

import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diagchd_batch import __version__, output_layout
from diagchd_batch.cluster.node_checks.package_versions import package_versions
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import DiagchdBatchError, ItemError, StorageFault
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.results.columns import SCHEMA_VERSION
from diagchd_batch.results.counts import RunCounts
from diagchd_batch.results.derived_tables import write_run_table
from diagchd_batch.results.run_record import (
    ChangedShard,
    ModelRecord,
    PlanRecord,
    PrivateRunRecord,
    public_config,
    read_private_run_record,
    write_run_record,
)
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.run_identity.identity import Identity
from diagchd_batch.scoring.liveness.stop_conditions import Ending
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.wording import counted


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's record says that does not change during a submission.

    Attributes:
        config: The job file.
        identity: The run's identity.
        model: The model.
        plan: The head of the run's plan.
        command: The words of the command that was given.
        folds: The folds of the training whose out-of-fold predictions the run is, or None.
    """

    config: JobConfig
    identity: Identity
    model: ModelSpec
    plan: PlanHead
    command: Sequence[str]
    folds: HeldOutFolds | None = None


class RunRecordWriter:
    """Writes the record of a run during one submission. It continues the record of earlier submissions.

    Args:
        output: The output.
        private: The private tree.
        short_timeout: Both with a short timeout, for a run that ends early: storage may be what failed.
        facts: What does not change.
    """

    def __init__(self, output: Store, private: Store, short_timeout: tuple[Store, Store], facts: RunFacts) -> None:
        self._places = output, private
        self._short_timeout = short_timeout
        self._earlier = read_private_run_record(private, facts.identity.run_id)
        self._record = self._begin(facts)

    def running(self) -> None:
        """Record that the run is being scored."""
        self._write(status="running")

    def finished(
        self,
        counts: RunCounts,
        exit_code: ExitCode,
        scoring_s: float,
        devices: Iterable[str],
        changed: Iterable[ChangedShard] = (),
    ) -> None:
        """Record that the run is finished.

        Args:
            counts: The counts over all rows of the run.
            exit_code: The exit code of the command.
            scoring_s: Seconds that this submission spent scoring.
            devices: The names of the devices that computed.
            changed: The score files that this submission accepted with other bytes than they had before.
        """
        total_s = self._scoring_s(scoring_s)
        self._write(
            status="finished",
            exit_code=exit_code,
            counts=counts,
            images_per_s=counts.n_images / total_s if total_s else None,
            changed_shards=[*self._record.changed_shards, *changed],
            **self._ending(scoring_s, devices),
        )

    def stopped(self, ending: Ending, n_images_left: int, scoring_s: float, devices: Iterable[str]) -> None:
        """Record that the run was stopped with images left.

        Args:
            ending: Why it was stopped.
            n_images_left: Images that are still to be scored.
            scoring_s: Seconds that this submission spent scoring.
            devices: The names of the devices that computed.
        """
        reason = f"{ending}: {counted(n_images_left, 'image')} left"
        self._write(status="stopped", exit_code=ExitCode.DONE, reason=reason, **self._ending(scoring_s, devices))

    def ended_early(self, reason: RunInterrupted | DiagchdBatchError, scoring_s: float) -> None:
        """Record that a fault or a signal ended the run, unless storage is what failed.

        Args:
            reason: The fault or the interrupt.
            scoring_s: Seconds that this submission spent scoring.
        """
        status = "interrupted" if isinstance(reason, RunInterrupted) else "failed"
        with suppress(StorageFault, ItemError):
            ending = self._ending(scoring_s, ())
            self._write(status=status, exit_code=reason.exit_code, reason=str(reason), **ending, to=self._short_timeout)

    def _ending(self, scoring_s: float, devices: Iterable[str]) -> dict[str, Any]:
        return {
            "ended_at": datetime.now(UTC),
            "scoring_s": self._scoring_s(scoring_s),
            "devices": sorted({*self._record.devices, *devices}),
        }

    def _scoring_s(self, scoring_s: float) -> float:
        earlier_s = self._earlier.scoring_s if self._earlier else None
        return round((earlier_s or 0.0) + scoring_s, 3)

    def _write(self, *, to: tuple[Store, Store] | None = None, **changes: Any) -> None:
        output, private = to or self._places
        # Another driver may have finished the run meanwhile, or an interrupt may come after its end. The record of a
        # finished run stays as it is, because its exit code is repeated from then on.
        finished = output_layout.success_marker(self._record.run_id)
        if changes["status"] != "finished" and output.stat(finished) is not None:
            return
        self._record = self._record.model_copy(update=changes)
        write_run_record(output, private, self._record)
        write_run_table(output, self._record)

    def _begin(self, facts: RunFacts) -> PrivateRunRecord:
        earlier, identity, plan, spec = self._earlier, facts.identity, facts.plan, facts.model
        return PrivateRunRecord(
            run_id=identity.run_id,
            parent_run_id=identity.parent_run_id,
            selection=identity.selection,
            fingerprint=identity.fingerprint,
            fingerprint_fields=dict(identity.fields),
            package_version=__version__,
            schema_version=SCHEMA_VERSION,
            status="running",
            exit_code=None,
            simulated=facts.config.input.simulated,
            config=public_config(facts.config),
            model=ModelRecord(
                name=spec.name,
                weights_digest=spec.weights_digest,
                architecture=spec.architecture,
                preprocessing=spec.preprocessing,
                precision=spec.precision,
                height=spec.height,
                width=spec.width,
                chd_threshold=spec.chd_threshold,
                batch_size=identity.batch_size,
                card=spec.card.model_dump(mode="json"),
                decisions=spec.decisions,
            ),
            plan=PlanRecord(
                frames=plan.frames,
                n_studies=plan.n_studies,
                n_subjects=plan.n_subjects,
                n_images=plan.n_images,
                n_masks=plan.n_masks,
                n_shards=plan.n_shards,
                n_excluded=plan.n_excluded,
                subjects_given=plan.subjects_given,
            ),
            versions=package_versions(),
            devices=list(earlier.devices) if earlier else [],
            started_at=earlier.started_at if earlier else datetime.now(UTC),
            submissions=earlier.submissions + 1 if earlier else 1,
            changed_shards=earlier.changed_shards if earlier else [],
            full_config=facts.config.model_dump(mode="json"),
            command=list(facts.command),
            hosts=sorted({platform.node(), *(earlier.hosts if earlier else ())}),
            plan_digest=plan.digest,
            input_digest=identity.input_digest,
            cross_validation=facts.folds and facts.folds.record,
            fold_names=list(facts.folds.names) if facts.folds else [],
            fold_column=facts.folds and facts.folds.column,
        )
