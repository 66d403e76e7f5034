"""Decides which run a command means, by its fingerprint, its input and its number, and claims it once."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import (
    current_fingerprint,
    current_form,
    differences,
    earlier_fingerprints,
    fingerprint,
)
from diagchd_batch.errors import FingerprintMismatchError, RunFault, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.lineage import newest_runs
from diagchd_batch.scoring.driver.run_identity.identity import (
    MANIFEST_FIELD,
    SCORING_VERSION_FIELD,
    Identity,
    input_differences,
    keyed_digest,
    read_identity,
)
from diagchd_batch.scoring.driver.run_identity.new_run_ids import check_new_run_id
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.storage import Store

_PREFIX_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Target:
    """The run that a request means. If it `exists`, its identity is the one that it was claimed with."""

    identity: Identity
    exists: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The run that a command goes on with.

    Attributes:
        identity: The run's identity.
        resumed: The run was begun before.
        finished: Nothing is left to do.
    """

    identity: Identity
    resumed: bool
    finished: bool


class ProgramChangedError(FingerprintMismatchError):
    """A run differs from the one that is asked for only by the version of the scoring code."""

    def __init__(self, existing: Identity, found: dict[str, tuple[Any, Any]]) -> None:
        super().__init__(existing.run_id, found)
        old, new = found[SCORING_VERSION_FIELD]
        self.args = (
            f"this program computes other scores (scoring version {new}) than run {existing.run_id} has (scoring "
            f"version {old}), and nothing else has changed. To score the whole archive again, give --new-run without "
            "--run-id and --select; later commands then go on with that run. To go on with the earlier scores, use "
            f"diagchd-batch {existing.created_by}",
        )


class RunRegistry:
    """The runs of one output. A claim is created only if absent, so two drivers that start at once get one run."""

    def __init__(self, output: Store, private: Store, key: bytes) -> None:
        self._output = output
        self._private = private
        self._key = key

    def target(self, fields: Mapping[str, Any], inputs: Mapping[str, Any], request: RunRequest) -> Target:
        """Return the run that a request means. Writes nothing.

        It is the run of the name that was given, else the latest run of this fingerprint and input, else a new one.
        With a selection it is the newest run of this fingerprint and input while that is not finished, whatever its
        manifest said, and then a new run, its child.

        Args:
            fields: What `fingerprint_fields` returns.
            inputs: What `input_fields` returns.
            request: Which run the user asks for.

        Raises:
            FingerprintMismatchError: The run that was named has another fingerprint or input.
            ProgramChangedError: Only the scoring version differs from an earlier run's, so that the whole archive
                would be scored again.
            UsageError: There is no run whose failures could be scored again, or it is not finished; or the name that
                was given for a new run does not read as text.
        """
        wanted = Identity(
            run_id="",
            fingerprint=fingerprint(fields),
            fields=dict(fields),
            input_digest=keyed_digest(self._key, inputs),
            input_fields=dict(inputs),
            batch_size=0,
            intra_op_threads=0,
            chd_threshold=0.0,
        )
        if request.run_id is not None and (named := read_identity(self._private, request.run_id)):
            self._refuse_another(named, wanted, with_manifest=request.selection == "all")
            return Target(named, exists=True)
        if request.run_id is not None:
            check_new_run_id(request.run_id)
        number, latest = self._latest(wanted)
        if request.selection != "all":
            parent = self._newest(wanted, latest)
            if parent and not self._is_finished(parent.run_id):
                return self._unfinished(parent, request)
            if parent is None:
                self._refuse_if_only_the_program_changed(wanted, with_manifest=False)
                if request.selection == "failed":
                    raise UsageError(
                        "--select failed: this output holds no run of this model and input; submit it without "
                        "--select first"
                    )
            else:
                wanted = wanted.model_copy(update={"parent_run_id": parent.run_id, "selection": request.selection})
        elif not (request.new_run or request.run_id):
            if latest:
                self._refuse_another(latest, wanted)
                return Target(latest, exists=True)
            self._refuse_if_only_the_program_changed(wanted, with_manifest=True)
        run_id = request.run_id or f"{_prefix(wanted.fingerprint, wanted)}-{number + 1}"
        return Target(wanted.model_copy(update={"run_id": run_id}), exists=False)

    def claim(
        self,
        target: Target,
        *,
        batch_size: int,
        intra_op_threads: int,
        chd_threshold: float,
        view_check_digest: str | None = None,
    ) -> Claim:
        """Claim the target's run. If two drivers do so at once, both get the identity of the first.

        Args:
            target: The run that a command means.
            batch_size: Images in a batch.
            intra_op_threads: Threads of one operation on a CPU.
            chd_threshold: The probability, in [0, 1], from which a frame is called CHD.
            view_check_digest: The digest of the model's view check, or None if it has none.

        Returns:
            The run's identity, and whether the run existed before and is finished. The identity of a resumed run has
            what its first submission settled.

        Raises:
            FingerprintMismatchError: Another driver has claimed the name for another fingerprint or input.
        """
        settled = {
            "batch_size": batch_size,
            "intra_op_threads": intra_op_threads,
            "chd_threshold": chd_threshold,
            "view_check_digest": view_check_digest,
        }
        identity = target.identity.model_copy(update=settled)
        resumed = not identity.create(self._private, output_layout.identity_file(identity.run_id))
        existing = read_identity(self._private, identity.run_id)
        assert existing is not None
        self._refuse_another(existing, identity)
        return Claim(existing, resumed, resumed and self._is_finished(identity.run_id))

    def _latest(self, wanted: Identity) -> tuple[int, Identity | None]:
        """Return the highest number of a run under today's fingerprint, and the latest run under any equal one."""
        number, latest = self._counted_up(_prefix(wanted.fingerprint, wanted))
        for earlier in earlier_fingerprints(wanted.fields):
            latest = latest or self._counted_up(_prefix(earlier, wanted))[1]
        return number, latest

    def _counted_up(self, prefix: str) -> tuple[int, Identity | None]:
        number, latest = 0, None
        while identity := read_identity(self._private, f"{prefix}-{number + 1}"):
            number, latest = number + 1, identity
        return number, latest

    def _newest(self, wanted: Identity, latest: Identity | None) -> Identity | None:
        """Return the run that a selection builds on.

        It is `latest` while that is not finished, since its plan may still be in the making. Otherwise it is the newest
        recorded run of this fingerprint and input, whatever its manifest said. A damaged record that may belong to such
        a run raises DamagedRecordError: passing over it would score again, beside it, what it scored.
        """

        def refuse_if_meant(run_id: str, error: DamagedRecordError) -> None:
            identity = read_identity(self._private, run_id)
            if identity is None or _could_build_on(identity, wanted):
                raise error

        if latest and not self._is_finished(latest.run_id):
            return latest
        for record in newest_runs(self._output, on_damaged=refuse_if_meant):
            if current_fingerprint(record.fingerprint, record.fingerprint_fields) != wanted.fingerprint:
                continue
            identity = read_identity(self._private, record.run_id)
            if identity and _could_build_on(identity, wanted):
                return identity
        return None

    def _unfinished(self, run: Identity, request: RunRequest) -> Target:
        if request.run_id is not None:
            raise UsageError(f"run {run.run_id} is not finished; resume it first, without --run-id")
        if request.selection == "failed" and run.selection != "failed":
            raise UsageError(f"--select failed: run {run.run_id} is not finished; resume it first, without --select")
        return Target(run, exists=True)

    def _is_finished(self, run_id: str) -> bool:
        return self._output.stat(output_layout.success_marker(run_id)) is not None

    def _refuse_if_only_the_program_changed(self, wanted: Identity, *, with_manifest: bool) -> None:
        for run in self._recorded():
            found = differences(current_form(run.fields), current_form(wanted.fields))
            if set(found) == {SCORING_VERSION_FIELD} and not input_differences(
                run, wanted, with_manifest=with_manifest
            ):
                raise ProgramChangedError(run, found)

    def _recorded(self) -> Iterator[Identity]:
        damaged: list[str] = []
        records = newest_runs(self._output, on_damaged=lambda run_id, _: damaged.append(run_id))
        for run_id in (*(record.run_id for record in records), *damaged):
            with suppress(RunFault):  # the damaged identity of another run must not stop this one
                if identity := read_identity(self._private, run_id):
                    yield identity

    def _refuse_another(self, existing: Identity, wanted: Identity, *, with_manifest: bool = True) -> None:
        found = differences(current_form(existing.fields), current_form(wanted.fields))
        for name, values in input_differences(existing, wanted, with_manifest=with_manifest).items():
            found[f"input.{name}"] = (self._shown(name, values[0]), self._shown(name, values[1]))
        if set(found) == {SCORING_VERSION_FIELD}:
            raise ProgramChangedError(existing, found)
        if found:
            raise FingerprintMismatchError(existing.run_id, found)

    def _shown(self, name: str, value: Any) -> Any:
        """Replace a path or a manifest's digest by a token, because messages end up in logs."""
        hidden = name in ("uri", MANIFEST_FIELD) and value is not None
        return keyed_digest(self._key, {name: value})[:_PREFIX_DIGITS] if hidden else value


def _prefix(run_fingerprint: str, wanted: Identity) -> str:
    """Return what the ids of all runs of one fingerprint and input begin with."""
    return f"{run_fingerprint[:_PREFIX_DIGITS]}-{wanted.input_digest[:_PREFIX_DIGITS]}"


def _could_build_on(run: Identity, wanted: Identity) -> bool:
    same_model = current_fingerprint(run.fingerprint, run.fields) == wanted.fingerprint
    return same_model and not input_differences(run, wanted, with_manifest=False)
