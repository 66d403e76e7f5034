"""What a worker needs to score: small, fixed for a run, and free of the identifier key and of the plan."""

from dataclasses import dataclass

from diagchd_batch.config.models import LimitsConfig
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model.spec import ModelSpec

IMPATIENCE_S = 20.0
"""Time-out of storage for what must not wait as long as work may: watching, signs of life, last words."""


def impatience_s(limits: LimitsConfig) -> float:
    """As IMPATIENCE_S, where work itself waits no longer than `limits.object_timeout_s`."""
    return min(IMPATIENCE_S, limits.object_timeout_s)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One submission of one run, as its workers see it.

    `batch_size` and `intra_op_threads` were resolved once for the run, because results depend on them to the bit;
    `decoder_threads` may differ between submissions. `has_masks`: the plan names reference masks.
    `until_s`: Unix time at which no shard shall be in hand any more. `has_node_proof`: see `scoring.node_proof`.
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
    def decode_limits(self) -> DecodeLimits:
        return DecodeLimits(max_pixels=self.limits.max_pixels, max_file_bytes=self.limits.max_file_bytes)
