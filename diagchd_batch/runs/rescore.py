"""`verify --rescore`: scores a random sample of a run again and compares it with the committed rows."""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock, local
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import current_form, differences
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ItemError, RunFault, UsageError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.formats.image_file import PartsFile
from diagchd_batch.images.frames import FrameRule, chosen_frames
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.results.columns import DIGEST_OF_FRAMES, SCORES, STATUS_OK
from diagchd_batch.results.datasets import damage_as_fault, parquet_files, read_scores, shard_of
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import PrivateRunRecord, read_private_run_record
from diagchd_batch.runs.run_lookup import OnNote, chosen_run, ignore_note
from diagchd_batch.runs.show import recorded_sources
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord, digest_of_frames
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.driver.run_identity.archive_binding import InputRoot
from diagchd_batch.scoring.driver.run_identity.identity import (
    FOLDS_FIELD,
    Identity,
    fingerprint_fields,
    read_identity,
)
from diagchd_batch.scoring.worker.fold_models import member_of_fold
from diagchd_batch.scoring.worker.pipeline import Model, ModelLease, ShardPipeline
from diagchd_batch.sources import Source, open_source
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from diagchd_batch.wording import counted

_TOLERANCES = {"float32": (1e-4, 0.001)}
_LOW_PRECISION = (0.02, 0.01)
_PIXEL_BYTES_IN_FLIGHT = 256 << 20
_DECODER_THREADS = 2

LoadModel = Callable[[Any, int, int], Model]
"""Loads a model: its spec, the batch size, and the threads of one operation."""

Place = tuple[str, int]
"""An image's token and the number of a frame, from 0."""


@dataclass(frozen=True)
class Difference:
    """A frame whose score or mask is not the committed one."""

    image_id: str
    frame: int
    detail: str


@dataclass(frozen=True)
class Rescoring:
    """The result of scoring a sample again.

    Attributes:
        run_id: The run.
        n_sampled: The frames that were drawn from the scored ones.
        n_equal: Frames whose probability and mask are equal to the bit.
        n_close: Frames that differ, but by no more than the tolerance.
        max_difference: The largest difference of a probability that was found.
        max_probability_difference: The tolerance of a probability.
        max_pixel_share: The tolerance of a mask: the largest share of pixels that may differ.
        different: Frames that differ by more.
        unusable: Frames whose file is gone, has other bytes than those that were scored, or cannot be read any more.
    """

    run_id: str
    n_sampled: int
    n_equal: int
    n_close: int
    max_difference: float
    max_probability_difference: float
    max_pixel_share: float
    different: tuple[Difference, ...]
    unusable: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether no score differs. A file that is gone is no different score."""
        return not self.different


def load_predictor(spec: Any, batch_size: int, intra_op_threads: int) -> Model:
    """Return the model as a worker loads it.

    Args:
        spec: The model's `ModelSpec`.
        batch_size: Images in a batch.
        intra_op_threads: Threads of one operation.
    """
    with native_stderr_silenced():
        from diagchd_batch.model.predictor import Predictor  # TensorFlow, only where a model is needed

        return Predictor(spec, batch_size, intra_op_threads)


def rescore(
    output: Output,
    n_frames: int,
    run_id: str | None = None,
    *,
    seed: int = 0,
    load_model: LoadModel = load_predictor,
    on_note: OnNote = ignore_note,
) -> Rescoring:
    """Score a random sample of a run's frames again and compare it with the committed rows.

    The model, precision, batch size and number of threads are those that the run recorded. Needs neither Ray nor a
    cluster. Nothing is written.

    Args:
        output: The output, with its private tree.
        n_frames: The size of the sample; all scored frames if the run has fewer.
        run_id: The run; the latest finished one by default.
        seed: Draws the sample. One seed draws the same frames of a run.
        load_model: Loads the model.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        How the new scores compare with the committed ones.

    Raises:
        UsageError: The output has no such run, or the private tree is not at hand.
        WeightsError: The run's weights cannot be read.
        RunFault: This program would score otherwise than the run did, or a table cannot be read.
    """
    refuse_unfinished_deletion(output.private)
    record, identity = _recorded(output, chosen_run(output, run_id, on_note).run_id)
    config = JobConfig.model_validate(record.full_config)
    spec = _model(config, identity)
    sample = _sample(output, record.run_id, n_frames, seed)
    rows = _committed(output, record.run_id, sample)
    plan = open_plan(output.private, record.run_id)
    root = InputRoot.read(output.private, output_layout.INPUT_ROOT)
    archive = open_source(
        root.current if root else config.input.uri,
        object_timeout_s=config.limits.object_timeout_s,
        dicomweb=config.input.dicomweb,
    )
    limits = DecodeLimits(max_pixels=config.limits.max_pixels, max_file_bytes=config.limits.max_file_bytes)
    images, unusable = _usable_images(output, plan, archive, rows, config.input.frame_rule, limits)
    settings = DecodeSettings(limits, spec.height, spec.width, config.input.label_map, config.input.region)
    reader = FileReader(archive, config.input.frame_rule, config.limits.max_file_bytes)
    found: list[dict[str, Any]] = []
    for fold, of_fold in _by_fold(images).items():
        member = spec if fold is None else member_of_fold(spec, fold)
        model = load_model(member, identity.batch_size, identity.intra_op_threads)
        found += _scored(model, reader, settings, of_fold, with_references=plan.head.n_masks > 0)
    return _compared(record, rows, found, unusable)


def _by_fold(images: Sequence[PlannedImage]) -> dict[int | None, list[PlannedImage]]:
    """Return the images of each fold; None is the fold of all images of a run of one model."""
    found: dict[int | None, list[PlannedImage]] = {}
    for image in images:
        found.setdefault(image.fold, []).append(image)
    return found


def _recorded(output: Output, run_id: str) -> tuple[PrivateRunRecord, Identity]:
    record, identity = read_private_run_record(output.private, run_id), read_identity(output.private, run_id)
    if record is None or identity is None:
        raise UsageError(
            f"the private tree holds no record of run {run_id}, so its files and settings are not known; name that "
            "tree with --private-uri"
        )
    return record, identity


def _model(config: JobConfig, identity: Identity) -> Any:
    """Return the run's model. Raise RunFault if this program, with these weights, would not score as the run did."""
    from diagchd_batch.model.spec import resolve_model

    model = config.model
    spec = resolve_model(model.name, model.weights, model.precision, model.members)
    fields = fingerprint_fields(spec, config.input, config.limits, identity.fields.get(FOLDS_FIELD))
    if found := differences(current_form(identity.fields), fields):
        shown = "; ".join(f"{name}: {old} in the run, {new} here" for name, (old, new) in found.items())
        raise RunFault(
            f"run {identity.run_id} cannot be scored again here, because this would not be the same scoring ({shown}); "
            "use the weights and the version of this program that the run was scored with"
        )
    return identity.model_of_run(spec)


def _sample(output: Output, run_id: str, n_frames: int, seed: int) -> dict[Place, int]:
    """Return the frames that are drawn, each with its shard."""
    places: list[tuple[str, int, int]] = []
    with damage_as_fault(run_id):
        scanner = read_scores(output.storage, run_id).scanner(
            columns=["image_id", "frame"], filter=ds.field("status") == STATUS_OK
        )
        for batch in scanner.scan_batches():
            shard = shard_of(batch.fragment.path)
            rows = batch.record_batch
            places += [
                (image_id, frame, shard)
                for image_id, frame in zip(rows["image_id"].to_pylist(), rows["frame"].to_pylist(), strict=True)
            ]
    places.sort()
    drawn = random.Random(seed).sample(places, min(n_frames, len(places)))
    return {(image_id, frame): shard for image_id, frame, shard in drawn}


def _committed(output: Output, run_id: str, sample: dict[Place, int]) -> dict[Place, dict[str, Any]]:
    """Return the committed rows of the sample with their shard, in the order of shards."""
    rows: dict[Place, dict[str, Any]] = {}
    for shard in sorted(set(sample.values())):
        image_ids = sorted({image_id for (image_id, _), of_shard in sample.items() if of_shard == shard})
        with damage_as_fault(run_id):
            table = parquet_files(output.storage, [output_layout.shard_file(run_id, shard)], SCORES).to_table(
                columns=["image_id", "frame", "chd_probability", "mask_png"],
                filter=ds.field("image_id").isin(image_ids),
            )
        for row in table.to_pylist():
            if sample.get((row["image_id"], row["frame"])) == shard:
                rows[row["image_id"], row["frame"]] = {**row, "shard": shard}
    return rows


def _usable_images(
    output: Output,
    plan: Plan,
    archive: Source,
    rows: dict[Place, dict[str, Any]],
    frame_rule: FrameRule,
    limits: DecodeLimits,
) -> tuple[list[PlannedImage], list[Difference]]:
    """Return the images to score, each with the frames that were drawn, and the frames whose file has changed.

    A file with another date counts as unchanged if its bytes are those that were scored.
    """
    images: list[PlannedImage] = []
    unusable: list[Difference] = []
    frames: dict[int, dict[str, list[int]]] = {}
    for (image_id, frame), row in rows.items():
        frames.setdefault(row["shard"], {}).setdefault(image_id, []).append(frame)
    for reference in plan.shards():
        if reference.shard not in frames:
            continue
        sources = {row["image_id"]: row for row in recorded_sources(output, plan.run_id, reference.shard)}
        for image in plan.read_shard(reference):
            drawn = frames[reference.shard].get(image.image_id)
            if drawn is None:
                continue
            if problem := _problem_of_source(archive, image, sources.get(image.image_id, {}), frame_rule, limits):
                unusable += [Difference(image.image_id, frame, problem) for frame in drawn]
                continue
            drawn_image = replace(image, frames=tuple(sorted(drawn)), mask_uri=None)
            if info := archive.stat(image.uri):
                drawn_image = replace(drawn_image, etag=info.etag, modified_ns=info.modified_ns)
            images.append(drawn_image)
    return images, unusable


def _problem_of_source(
    archive: Source, image: PlannedImage, recorded: dict[str, Any], frame_rule: FrameRule, limits: DecodeLimits
) -> str | None:
    """Return why the file is not the one that was scored, or None if it is."""
    sha256 = recorded.get("sha256")
    try:
        found = digest_as_recorded(archive.read(image.uri), recorded, image, frame_rule, limits)
    except ItemError as error:
        return "the file is gone" if error.code is FailureCode.NOT_FOUND else f"the file cannot be read ({error.code})"
    if sha256 is None:
        return "no digest of what was scored is recorded"
    return None if found == sha256 else "the file has other bytes than those that were scored"


def digest_as_recorded(
    data: bytes, recorded: Mapping[str, Any], image: PlannedImage, frame_rule: FrameRule, limits: DecodeLimits
) -> str:
    """Return the digest that a file has now of what the recorded digest is of: the whole file, or its chosen frames.

    Args:
        data: The whole file.
        recorded: The image's row of the sources.
        image: The image in the plan.
        frame_rule: The run's rule for frames.
        limits: The run's limits.

    Raises:
        ItemError: The file cannot be opened any more.
    """
    if recorded.get("digest_of") != DIGEST_OF_FRAMES:
        return hashlib.sha256(data).hexdigest()
    file = open_image(data, limits)
    frames = chosen_frames(frame_rule, image.frames, file.n_frames)
    return digest_of_frames(file, frames) if isinstance(file, PartsFile) else ""


def _scored(
    model: Model, reader: FileReader, settings: DecodeSettings, images: Sequence[PlannedImage], *, with_references: bool
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the images, in batches of the run's size. A score does not depend on others of its batch."""
    budget = ByteBudget(_PIXEL_BYTES_IN_FLIGHT)
    own = local()

    def read(image: PlannedImage) -> Iterator[FrameInput | SourceRecord]:
        if not hasattr(own, "decoder"):
            own.decoder = InProcessDecoder(settings, budget)
        return reader.read(image, own.decoder)

    with ModelLease(Lock()) as lease:
        pipeline = ShardPipeline(
            model,
            lease,
            read,
            decoder_threads=_DECODER_THREADS,
            with_references=with_references,
            on_progress=lambda: None,
            before_batch=lambda batch: None,
        )
        yield from pipeline.run(images, lambda source: None)


def _compared(
    record: PrivateRunRecord,
    rows: dict[Place, dict[str, Any]],
    found: list[dict[str, Any]],
    unusable: list[Difference],
) -> Rescoring:
    max_probability, max_share = _TOLERANCES.get(record.model.precision, _LOW_PRECISION)
    different: list[Difference] = []
    n_equal = n_close = 0
    largest = 0.0
    for row in found:
        image_id, frame = row["image_id"], row["frame"]
        if row["status"] != STATUS_OK:
            detail = f"it is scored in the run, but fails now ({row['error_code']})"
            different.append(Difference(image_id, frame if frame is not None else -1, detail))
            continue
        committed = rows[image_id, frame]
        probability, before = np.float32(row["chd_probability"]), np.float32(committed["chd_probability"])
        gap = float(abs(probability - before))
        share = float(np.mean(decode_mask(row["mask_png"]) != decode_mask(committed["mask_png"])))
        largest = max(largest, gap)
        if gap == 0 and share == 0:
            n_equal += 1
        elif gap <= max_probability and share <= max_share:
            n_close += 1
        else:
            detail = (
                f"probability {before:.7f} in the run, {probability:.7f} now; {share:.3%} of the mask's pixels differ"
            )
            different.append(Difference(image_id, frame, detail))
    return Rescoring(
        run_id=record.run_id,
        n_sampled=len(rows),
        n_equal=n_equal,
        n_close=n_close,
        max_difference=largest,
        max_probability_difference=max_probability,
        max_pixel_share=max_share,
        different=tuple(different),
        unusable=tuple(unusable),
    )


def describe(result: Rescoring) -> str:
    """Return what the comparison found, in one sentence.

    Args:
        result: What `rescore` returned.
    """
    return (
        f"{counted(result.n_sampled, 'frame')} drawn: {result.n_equal:,} equal to the bit, {result.n_close:,} within "
        f"the tolerance (probability ±{result.max_probability_difference:g}, {result.max_pixel_share:.1%} of a mask's "
        f"pixels; largest difference {result.max_difference:.2g}), {len(result.different):,} different, "
        f"{len(result.unusable):,} without the file that was scored"
    )
