"""Which run a command means: its fingerprint, its input, its number; claimed once, resumed by the same command."""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from diagchd_batch import __version__, output_layout
from diagchd_batch.config.fingerprint import differences, fingerprint
from diagchd_batch.config.models import InputConfig, LimitsConfig
from diagchd_batch.errors import FingerprintMismatchError, RunFault, UsageError
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.results.columns import SCHEMA_VERSION
from diagchd_batch.results.lineage import newest_runs
from diagchd_batch.results.run_record import DamagedRecordError, Selection
from diagchd_batch.storage import Store
from diagchd_batch.studies.layouts.manifest import manifest_digest
from diagchd_batch.uris import normalize_uri

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DIGITS = 8
_MANIFEST = "manifest_sha256"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is, fixed when it is first claimed. Identified: it lies under `private/`.

    `input_digest` is keyed, because digests of a manifest or a path could be guessed. `batch_size` and
    `intra_op_threads` are not part of what makes runs different, but of what makes one run repeatable to the bit;
    `chd_threshold` is the card's as the run began, so that all its calls are made alike.
    `selection`: what it plans of the input, beyond the lineage of its parent.
    """

    run_id: str
    fingerprint: str
    fields: Mapping[str, Any]
    input_digest: str
    input_fields: Mapping[str, Any]
    batch_size: int
    intra_op_threads: int
    chd_threshold: float
    parent_run_id: str | None = None
    selection: Selection = "all"
    created_by: str = __version__


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Which run is asked for: one's own `run_id`, or a new one although one could go on, or one that builds on the
    newest run and plans a selection of the input alone.
    """

    run_id: str | None = None
    new_run: bool = False
    selection: Selection = "all"

    def __post_init__(self) -> None:
        if self.run_id is not None and self.new_run:
            raise UsageError("--run-id and --new-run exclude each other: a new run gets its own id")
        if self.new_run and self.selection != "all":
            raise UsageError(
                "--new-run scores everything; leave it away with --only and --retry, which begin a run too"
            )
        if self.run_id is not None and not _RUN_ID.fullmatch(self.run_id):
            raise UsageError("--run-id: letters, digits, dot, dash and underscore only, 80 at most")


@dataclass(frozen=True, slots=True)
class Target:
    """The run that a request means. `exists`: it was claimed before, and its identity is what it was then."""

    identity: Identity
    exists: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The run that a command goes on with. `resumed`: it was begun before; `finished`: nothing is left to be done."""

    identity: Identity
    resumed: bool
    finished: bool


def fingerprint_fields(model: ModelSpec, input_config: InputConfig, limits: LimitsConfig) -> dict[str, Any]:
    """All that changes a score. Not the decision threshold, not actors or shard size."""
    return {
        "weights_digest": model.weights_digest,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing,
        "height": model.height,
        "width": model.width,
        "precision": model.precision,
        "frames": input_config.frames,
        "max_pixels": limits.max_pixels,
        "max_file_bytes": limits.max_file_bytes,
        "schema_version": SCHEMA_VERSION,
    }


def input_fields(config: InputConfig) -> dict[str, Any]:
    """The input block, with the manifest's content in place of its path."""
    return {
        "uri": normalize_uri(config.uri),
        "layout": config.layout,
        "manifest_sha256": manifest_digest(config),
        "frames": config.frames,
        "label_map": None if config.label_map is None else sorted(map(list, config.label_map.items())),
        "simulated": config.simulated,
    }


def keyed_digest(key: bytes, fields: Mapping[str, Any]) -> str:
    """HMAC-SHA256 over the fields in canonical form: 64 hex digits."""
    return hmac.digest(key, f"input\0{fingerprint(fields)}".encode(), "sha256").hex()


class RunRegistry:
    """The runs of one output. Claims are create-if-absent: of two drivers that start at once both get one run."""

    def __init__(self, output: Store, private: Store, key: bytes) -> None:
        self._output = output
        self._private = private
        self._key = key

    def target(self, fields: Mapping[str, Any], inputs: Mapping[str, Any], request: RunRequest) -> Target:
        """The run named, else the latest with this fingerprint and input, else a new one; writes nothing.

        With a selection: the newest run of this fingerprint and input, whatever its manifest said, while it is not
        finished; then a new one, its child. Raises FingerprintMismatchError where the run named stands for another
        fingerprint or input, UsageError where there is nothing to retry yet.
        """
        wanted = Identity("", fingerprint(fields), fields, keyed_digest(self._key, inputs), inputs, 0, 0, 0.0)
        if request.run_id is not None and (named := self._read(request.run_id)):
            self._refuse_another(named, wanted, with_manifest=request.selection == "all")
            return Target(named, exists=True)
        prefix = f"{wanted.fingerprint[:_DIGITS]}-{wanted.input_digest[:_DIGITS]}"
        number, latest = self._latest(prefix)
        if request.selection != "all":
            parent = self._newest(wanted, latest)
            if parent and not self._is_finished(parent.run_id):
                return self._unfinished(parent, request)
            if parent is None and request.selection == "failed":
                raise UsageError("--retry failed: this output holds no run of this model and input; submit it first")
            if parent:
                wanted = replace(wanted, parent_run_id=parent.run_id, selection=request.selection)
        elif latest and not (request.new_run or request.run_id):
            self._refuse_another(latest, wanted)
            return Target(latest, exists=True)
        return Target(replace(wanted, run_id=request.run_id or f"{prefix}-{number + 1}"), exists=False)

    def claim(self, target: Target, *, batch_size: int, intra_op_threads: int, chd_threshold: float) -> Claim:
        """Make the target's run one's own; of two that do so at once, both get the first one's identity."""
        identity = replace(
            target.identity,
            batch_size=batch_size,
            intra_op_threads=intra_op_threads,
            chd_threshold=chd_threshold,
        )
        key = output_layout.identity_file(identity.run_id)
        resumed = not self._private.create(key, json.dumps(asdict(identity), indent=1).encode())
        existing = self._read(identity.run_id)
        assert existing is not None
        self._refuse_another(existing, identity)
        return Claim(existing, resumed, resumed and self._is_finished(identity.run_id))

    def _read(self, run_id: str) -> Identity | None:
        key = output_layout.identity_file(run_id)
        if self._private.stat(key) is None:
            return None
        try:
            return Identity(**json.loads(self._private.read(key)))
        except (ValueError, TypeError) as error:
            raise RunFault(
                f"{key} is damaged or of another version of this program; restore it from a backup, or name another "
                "run with --run-id"
            ) from error

    def _latest(self, prefix: str) -> tuple[int, Identity | None]:
        number, latest = 0, None
        while identity := self._read(f"{prefix}-{number + 1}"):
            number, latest = number + 1, identity
        return number, latest

    def _newest(self, wanted: Identity, latest: Identity | None) -> Identity | None:
        """What a selection builds on: `latest` while it is not finished, since its plan may still be in the making;
        else the newest recorded run of this fingerprint and input, the manifest left aside. Raises DamagedRecordError
        where it could be one whose record cannot be read: what that scored would be scored again, beside it.
        """

        def refuse_if_meant(run_id: str, error: DamagedRecordError) -> None:
            identity = self._read(run_id)
            if identity is None or self._could_build_on(identity, wanted):
                raise error

        if latest and not self._is_finished(latest.run_id):
            return latest
        for record in newest_runs(self._output, on_damaged=refuse_if_meant):
            identity = self._read(record.run_id) if record.fingerprint == wanted.fingerprint else None
            if identity and self._could_build_on(identity, wanted):
                return identity
        return None

    @staticmethod
    def _could_build_on(run: Identity, wanted: Identity) -> bool:
        same_model = run.fingerprint == wanted.fingerprint
        return same_model and not _input_differences(run, wanted, with_manifest=False)

    def _unfinished(self, run: Identity, request: RunRequest) -> Target:
        if request.run_id is not None:
            raise UsageError(f"run {run.run_id} is not finished; resume it first, without --run-id")
        if request.selection == "failed" and run.selection != "failed":
            raise UsageError(f"--retry failed: run {run.run_id} is not finished; resume it first, without --retry")
        return Target(run, exists=True)

    def _is_finished(self, run_id: str) -> bool:
        return self._output.stat(output_layout.success_marker(run_id)) is not None

    def _refuse_another(self, existing: Identity, wanted: Identity, *, with_manifest: bool = True) -> None:
        found = differences(existing.fields, wanted.fields)
        for name, values in _input_differences(existing, wanted, with_manifest=with_manifest).items():
            found[f"input.{name}"] = tuple(self._shown(name, value) for value in values)
        if found:
            raise FingerprintMismatchError(existing.run_id, found)

    def _shown(self, name: str, value: Any) -> Any:
        """Messages end up in logs: paths and digests are shown as tokens."""
        hidden = name in ("uri", _MANIFEST) and value is not None
        return keyed_digest(self._key, {name: value})[:_DIGITS] if hidden else value


def _input_differences(one: Identity, other: Identity, *, with_manifest: bool) -> dict[str, Any]:
    found = differences(one.input_fields, other.input_fields)
    return {name: values for name, values in found.items() if with_manifest or name != _MANIFEST}
