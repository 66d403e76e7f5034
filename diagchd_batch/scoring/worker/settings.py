"""The settings of a worker: small, fixed for one submission, and free of the identifier key and of the plan."""

from dataclasses import dataclass, field

from diagchd_batch.cluster.node_checks.nodes_joining_later import RunPlaces
from diagchd_batch.config.job_file import DicomwebConfig, LimitsConfig
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.regions.frame_region import RegionRule
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.uris import is_dicomweb_uri


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One submission of one run, as its workers see it.

    Attributes:
        run_id: The run.
        submission: The submission of the run that the worker belongs to.
        fingerprint: The fingerprint of the run, 64 hexadecimal digits.
        input_uri: The root of the images.
        output_uri: The root of the output.
        private_uri: The root of the private tree.
        model: The model to score with.
        batch_size: Images in a batch. Resolved once for the run, because the last bits of the scores depend on it.
        intra_op_threads: Threads of one operation of the model. Resolved once for the run, for the same reason.
        decoder_threads: Threads that read and decode files. May differ between submissions.
        frame_rule: Which frames of a multi-frame file are scored if the manifest names none.
        region: Which part of a frame is scored.
        label_map: Grey value in the reference masks -> class 0, 1 or 2; None if the values are the classes.
        limits: The limits of the job.
        simulated: Whether the images are simulated.
        has_masks: Whether the plan names reference masks.
        until_s: The Unix time by which every shard must have ended, or None.
        has_node_proof: Whether a worker checks that its node sees the driver's places
            (`cluster.node_checks.nodes_joining_later`).
        dicomweb: How the archive may be read if it is a PACS.
        requests_per_image: How often a PACS is asked for an image on average, as the plan expects it.
        min_memory_bytes: The memory that an actor must have for a batch, or 0 if that is not checked.
        scores_by_fold: Whether each study is scored by the one member of the model that the plan names as its fold.
        also_stopped_by: Key in the private tree of a further request to stop (`StopConditions`), or None.
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
    region: RegionRule
    label_map: dict[int, int] | None
    limits: LimitsConfig
    simulated: bool
    has_masks: bool
    until_s: float | None = None
    has_node_proof: bool = False
    dicomweb: DicomwebConfig = field(default_factory=DicomwebConfig)
    requests_per_image: float = 1.0
    min_memory_bytes: int = 0
    scores_by_fold: bool = False
    also_stopped_by: str | None = None

    @property
    def places(self) -> RunPlaces:
        """The locations of the run's input and output, for a process that opens them."""
        return RunPlaces(
            self.run_id,
            self.submission,
            self.input_uri,
            self.output_uri,
            self.private_uri,
            self.limits.object_timeout_s,
            self.dicomweb,
        )

    @property
    def least_s_per_image(self) -> float:
        """Seconds that an image takes at least, because requests to a PACS are limited."""
        if not is_dicomweb_uri(self.input_uri):
            return 0.0
        return self.requests_per_image / self.dicomweb.max_requests_per_second

    @property
    def decode_limits(self) -> DecodeLimits:
        """The largest image and file that are decoded."""
        return DecodeLimits(max_pixels=self.limits.max_pixels, max_file_bytes=self.limits.max_file_bytes)
