"""What a run is: the identity that it is claimed with once, and the fields that it is told apart by."""

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from diagchd_batch import __version__, output_layout
from diagchd_batch.config.fingerprint import FingerprintFields, differences, fingerprint
from diagchd_batch.config.job_file import InputConfig, LimitsConfig
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.results.run_record import Selection
from diagchd_batch.scoring.scoring_version import SCORING_VERSION
from diagchd_batch.storage import Store
from diagchd_batch.studies.layouts.manifest import manifest_digest
from diagchd_batch.uris import normalize_uri, with_query_of

SCORING_VERSION_FIELD = "scoring_version"
"""The name of the scoring version among the fingerprint fields."""

REGION_FIELD = "region"
"""The name of `input.region` among the fingerprint fields. A run that scored whole frames has no such field."""
WHOLE_FRAME = "whole"

MEMBERS_FIELD = "member_digests"
"""The name of the digests of an ensemble's weights among the fingerprint fields."""

FOLDS_FIELD = "held_out_folds"
"""The name of the digest of a training's folds among the fingerprint fields of its out-of-fold predictions."""

MANIFEST_FIELD = "manifest_sha256"
"""The name of the manifest's digest among the input fields."""


class Identity(JsonRecord):
    """What a run is, fixed when it is first claimed. It identifies the archive, so it lies under `_private/`.

    Attributes:
        run_id: The run's name.
        fingerprint: The digest of `fields`.
        fields: Everything that changes a score, as `fingerprint_fields` returns it.
        input_digest: A keyed digest of `input_fields`; an unkeyed one of a path or a manifest could be guessed.
        input_fields: The input block, as `input_fields` returns it.
        batch_size: Images in a batch. Like `intra_op_threads` it does not tell runs apart, but one run keeps it, so
            that its results are repeatable to the bit.
        intra_op_threads: Threads of one operation of the model.
        chd_threshold: The card's threshold when the run began, so that all its calls are made alike.
        view_check_digest: The digest of the model's view check when the run began, so that all its images are judged
            alike; None for a run without one.
        parent_run_id: The run whose lineage this one continues.
        selection: What the run plans of the input, beyond what its parent's lineage has.
        created_by: The version of the package.
    """

    remedy: ClassVar[str] = "restore it from a backup, or name another run with --run-id"

    run_id: str
    fingerprint: str
    fields: FingerprintFields
    input_digest: str
    input_fields: FingerprintFields
    batch_size: int
    intra_op_threads: int
    chd_threshold: float
    view_check_digest: str | None = None
    parent_run_id: str | None = None
    selection: Selection = "all"
    created_by: str = __version__

    def model_of_run(self, model: ModelSpec) -> ModelSpec:
        """Return a resolved model with the decision threshold and the view check that the run began with.

        Args:
            model: The model that the job file names today.
        """
        return replace(model, chd_threshold=self.chd_threshold).with_view_check(self.view_check_digest)


def fingerprint_fields(
    model: ModelSpec, input_config: InputConfig, limits: LimitsConfig, folds_digest: str | None = None
) -> dict[str, Any]:
    """Return everything that changes a score.

    The decision threshold, the tables' schema version, the number of actors and the size of shards do not.

    Args:
        model: The resolved model.
        input_config: The job's `input` block.
        limits: The job's `limits` block.
        folds_digest: The digest of the folds, if each study is scored by the model of the fold that held it out.

    Returns:
        Field name → JSON value.
    """
    fields = {
        "weights_digest": model.weights_digest,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing,
        "height": model.height,
        "width": model.width,
        "precision": model.precision,
        "runtime": model.runtime,
        "frames": input_config.frame_rule,
        "max_pixels": limits.max_pixels,
        "max_file_bytes": limits.max_file_bytes,
        SCORING_VERSION_FIELD: SCORING_VERSION,
    }
    if input_config.region != WHOLE_FRAME:  # the runs before the key existed, which scored whole frames, lack the field
        fields[REGION_FIELD] = input_config.region
    if len(model.members) > 1:  # the runs of one member, which are all that existed before ensembles, lack the field
        fields[MEMBERS_FIELD] = list(model.member_digests)
    if folds_digest is not None:
        fields[FOLDS_FIELD] = folds_digest
    return fields


def input_fields(config: InputConfig, first_root: str | None = None) -> dict[str, Any]:
    """Return the input block, with the manifest's digest in place of its path.

    Args:
        config: The input block.
        first_root: Where the output's first run found the archive (`InputRoot.first`), if it was moved since.
    """
    uri = normalize_uri(config.uri)
    chosen = {} if config.filter is None else {"filter": config.filter.model_dump(mode="json", exclude_none=True)}
    return {
        **chosen,  # only where there is a filter, so that the digests of runs without one stay what they were
        "uri": with_query_of(uri, first_root) if first_root else uri,
        "layout": config.layout,
        MANIFEST_FIELD: manifest_digest(config),
        "frames": config.frame_rule,
        "label_map": None if config.label_map is None else sorted(map(list, config.label_map.items())),
        "simulated": config.simulated,
    }


def keyed_digest(key: bytes, fields: Mapping[str, Any]) -> str:
    """Return the HMAC-SHA256 of the fields in canonical form, as 64 hex digits.

    Args:
        key: The identifier key.
        fields: Field name → JSON value.
    """
    return hmac.digest(key, f"input\0{fingerprint(fields)}".encode(), "sha256").hex()


def read_identity(private: Store, run_id: str) -> Identity | None:
    """Return the identity of a run, or None if no run of that name was claimed.

    Args:
        private: The private tree.
        run_id: The run's id.

    Raises:
        DamagedRecordError: The file is damaged.
    """
    return Identity.read(private, output_layout.identity_file(run_id))


def input_differences(one: Identity, other: Identity, *, with_manifest: bool) -> dict[str, tuple[Any, Any]]:
    """Return the input fields in which two runs differ, as `differences` does.

    Args:
        one: A run.
        other: Another run.
        with_manifest: Whether the manifest's digest counts.
    """
    found = differences(one.input_fields, other.input_fields)
    return {name: values for name, values in found.items() if with_manifest or name != MANIFEST_FIELD}
