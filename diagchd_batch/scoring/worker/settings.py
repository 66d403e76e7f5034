"""What a worker needs to score: small, fixed for a run, and free of the identifier key and of the plan."""

from dataclasses import dataclass

from diagchd_batch.cluster.node_checks.late_node import RunPlaces
from diagchd_batch.config.models import LimitsConfig
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One submission of one run, as its workers see it.

    `batch_size` and `intra_op_threads` were resolved once for the run, because results depend on them to the bit;
    `decoder_threads` may differ between submissions. `has_masks`: the plan names reference masks.
    `until_s`: Unix time at which no shard may be in hand any more. `has_node_proof`: whether the driver left the marks
    of `cluster.node_checks.late_node`.
    """

    run_id: str
    submission: str
    fingerprint: str
    input_uri: str
    output_uri: str
    private_uri: str
    model: ModelSpec
    batch_size: int
    intra_op_threads: int
    decoder_threads: int
    frame_rule: FrameRule
    label_map: dict[int, int] | None
    limits: LimitsConfig
    simulated: bool
    has_masks: bool
    until_s: float | None = None
    has_node_proof: bool = False

    @property
    def places(self) -> RunPlaces:
        return RunPlaces(
            self.run_id,
            self.submission,
            self.input_uri,
            self.output_uri,
            self.private_uri,
            self.limits.object_timeout_s,
        )

    @property
    def decode_limits(self) -> DecodeLimits:
        return DecodeLimits(max_pixels=self.limits.max_pixels, max_file_bytes=self.limits.max_file_bytes)
