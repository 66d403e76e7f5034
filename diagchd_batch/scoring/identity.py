"""Which run a command means: its fingerprint, its input, its number; claimed once, resumed by the same command."""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diagchd_batch import __version__
from diagchd_batch.config.fingerprint import differences, fingerprint
from diagchd_batch.config.models import InputConfig, LimitsConfig
from diagchd_batch.errors import FingerprintMismatchError, UsageError
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.results import layout
from diagchd_batch.results.schema import SCHEMA_VERSION
from diagchd_batch.storage import normalize_uri
from diagchd_batch.storage.base import Storage
from diagchd_batch.studies.layouts.manifest import manifest_digest

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run is, fixed when it is first claimed. Identified: it lies under `private/`.

    `input_digest` is keyed, because digests of a manifest or a path could be guessed. `batch_size` and
    `intra_op_threads` are not part of what makes runs different, but of what makes one run repeatable to the bit.
    """

    run_id: str
    fingerprint: str
    fields: Mapping[str, Any]
    input_digest: str
    input_fields: Mapping[str, Any]
    batch_size: int
    intra_op_threads: int
    created_by: str = __version__


@dataclass(frozen=True, slots=True)
class Claim:
    """The run that a command means. `resumed`: it was begun before; `finished`: nothing is left to be done."""

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

    def __init__(self, output: Storage, private: Storage, key: bytes) -> None:
        self._output = output
        self._private = private
        self._key = key

    def claim(
        self,
        fields: Mapping[str, Any],
        inputs: Mapping[str, Any],
        *,
        batch_size: int,
        intra_op_threads: int,
        run_id: str | None = None,
        new_run: bool = False,
    ) -> Claim:
        """The run named `run_id`, else the latest with this fingerprint and input, else (or with `new_run`) a new one.

        Raises FingerprintMismatchError where `run_id` stands for another fingerprint or input.
        """
        if run_id is not None and new_run:
            raise UsageError("--run-id and --new-run exclude each other: a new run gets its own id")
        wanted = self._wanted(fields, inputs, batch_size, intra_op_threads, run_id, new_run)
        key = layout.identity_file(wanted.run_id)
        resumed = not self._private.create(key, json.dumps(asdict(wanted), indent=1).encode())
        existing = self._existing(wanted)
        return Claim(existing, resumed, resumed and self._is_finished(wanted.run_id))

    def find(
        self, fields: Mapping[str, Any], inputs: Mapping[str, Any], *, run_id: str | None = None
    ) -> Identity | None:
        """The run that `claim` would resume, None where it would begin one; writes nothing."""
        wanted = self._wanted(fields, inputs, 0, 0, run_id, new_run=False)
        exists = self._private.stat(layout.identity_file(wanted.run_id)) is not None
        return self._existing(wanted) if exists else None

    def name(self, fields: Mapping[str, Any], inputs: Mapping[str, Any], run_id: str | None, new_run: bool) -> str:
        """The id of the run that `claim` would give; writes nothing. Raises as `claim` does."""
        if run_id is not None and new_run:
            raise UsageError("--run-id and --new-run exclude each other: a new run gets its own id")
        wanted = self._wanted(fields, inputs, 0, 0, run_id, new_run)
        if self._private.stat(layout.identity_file(wanted.run_id)) is not None:
            self._existing(wanted)
        return wanted.run_id

    def _wanted(
        self,
        fields: Mapping[str, Any],
        inputs: Mapping[str, Any],
        batch_size: int,
        intra_op_threads: int,
        run_id: str | None,
        new_run: bool,
    ) -> Identity:
        if run_id is not None and not _RUN_ID.fullmatch(run_id):
            raise UsageError("--run-id: letters, digits, dot, dash and underscore only, 80 at most")
        digest, print_ = keyed_digest(self._key, inputs), fingerprint(fields)
        chosen = run_id or self._choose(f"{print_[:_DIGITS]}-{digest[:_DIGITS]}", new_run)
        return Identity(chosen, print_, fields, digest, inputs, batch_size, intra_op_threads)

    def _existing(self, wanted: Identity) -> Identity:
        existing = Identity(**json.loads(self._private.read(layout.identity_file(wanted.run_id))))
        self._refuse_another(existing, wanted)
        return existing

    def _choose(self, prefix: str, new_run: bool) -> str:
        latest = 0
        while self._private.stat(layout.identity_file(f"{prefix}-{latest + 1}")) is not None:
            latest += 1
        return f"{prefix}-{max(1, latest + 1 if new_run else latest)}"

    def _is_finished(self, run_id: str) -> bool:
        return self._output.stat(layout.success_marker(run_id)) is not None

    def _refuse_another(self, existing: Identity, wanted: Identity) -> None:
        found = differences(existing.fields, wanted.fields)
        for name, values in differences(existing.input_fields, wanted.input_fields).items():
            found[f"input.{name}"] = tuple(self._shown(name, value) for value in values)
        if found:
            raise FingerprintMismatchError(wanted.run_id, found)

    def _shown(self, name: str, value: Any) -> Any:
        """Messages end up in logs: paths and digests are shown as tokens."""
        hidden = name in ("uri", "manifest_sha256") and value is not None
        return keyed_digest(self._key, {name: value})[:_DIGITS] if hidden else value
