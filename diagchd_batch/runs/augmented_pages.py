"""`train --preview`: shows some training images as training changes them, on a private page."""

from collections.abc import Mapping
from contextlib import closing

import numpy as np

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.errors import RunFault
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.process.interrupts import interruptible
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.runs.index import IndexMessages, index_archive, needs_headers
from diagchd_batch.runs.train import TrainProgress, training_of
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_limits, check_places
from diagchd_batch.storage import open_store
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.training.cohort import TrainingCohort, load_cohort
from diagchd_batch.training.image_cache import CacheSettings
from diagchd_batch.training.image_cache.decode_part import CachePlaces, decoded_frames
from diagchd_batch.training.preview import write_preview
from diagchd_batch.uris import join_uri
from diagchd_batch.workspace import Workspace

_DECODER_THREADS = 2
_PLAN = "preview"


def preview_augmentation(config: JobConfig, environ: Mapping[str, str], n_images: int, progress: TrainProgress) -> str:
    """Write the page, and return its URI in the private tree. Nothing else of a training is begun.

    Images are drawn at random by `training.seed`, those with a mask first. Studies of the test set are never shown.

    Args:
        config: A job with a block `training`.
        environ: The environment variables, which may hold the identifier key.
        n_images: How many images are shown; fewer if the input has fewer.
        progress: Receives what happens.

    Raises:
        DiagchdBatchError: What `train` would raise before it reads images.
        RunFault: None of the images that were drawn could be decoded.
    """
    settings = training_of(config)
    check_limits(config.limits)
    refuse_overlapping_places(config)
    card = load_card(config.model.name)
    workspace = Workspace.of_job(config, environ)
    with interruptible(), scratch_directory() as directory:
        check_places(workspace.archive, workspace.storage, workspace.private)
        refuse_unfinished_deletion(workspace.private)
        if needs_headers(config):
            index_archive(config, environ, IndexMessages(progress.message))
        scratch = open_store(str(directory))  # a plan that is not that of a training
        plan = freeze_plan(
            config.input,
            config.shards,
            workspace.archive,
            scratch,
            _PLAN,
            Pseudonymizer(workspace.create_key()),
            headers=headers_for(config.input, workspace.private),
            progress=progress.listed,
        )
        places = CachePlaces(
            run_id=_PLAN,
            input_uri=workspace.archive.uri,
            private_uri=scratch.uri,
            settings=CacheSettings.of_job(config, card),
            limits=config.limits,
            dicomweb=config.input.dicomweb,
            excluded_studies=frozenset(),
            threads=_DECODER_THREADS,
        )
        drawn = _drawn(load_cohort(config, plan), n_images, settings.seed)
        images, masks, names = _decoded(places, _planned(plan, drawn))
    key = write_preview(workspace.private, images, masks, names, settings.augmentation, settings.seed)
    return join_uri(workspace.private.uri, key)


def _drawn(cohort: TrainingCohort, n_images: int, seed: int) -> set[str]:
    """Return the tokens of images at random, those with a mask before the others."""
    rows = np.random.default_rng(seed).permutation(len(cohort))
    rows = rows[np.argsort(~cohort.has_mask[rows], kind="stable")]
    names = dict.fromkeys(cohort.image_ids[rows].tolist())
    return set(list(names)[:n_images])


def _planned(plan: Plan, names: set[str]) -> list[PlannedImage]:
    return [image for shard in plan.shards() for image in plan.read_shard(shard) if image.image_id in names]


def _decoded(places: CachePlaces, planned: list[PlannedImage]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the first frame of each image, its mask or zeros, and its token."""
    images: dict[str, np.ndarray] = {}
    masks: dict[str, np.ndarray] = {}
    with closing(decoded_frames(places, planned)) as frames:
        for found in frames:
            name = found.image.image_id
            if found.decoded is None or name in images:
                continue
            images[name] = found.decoded.image_hwc_u8
            mask = found.reference.label_map_hw_u8 if found.reference else None
            masks[name] = np.zeros(images[name].shape[:2], np.uint8) if mask is None else mask
    if not images:
        raise RunFault(
            "none of the images that were drawn could be decoded; the command `plan` shows the input, and another "
            "training.seed draws others"
        )
    return np.stack(list(images.values())), np.stack(list(masks.values())), list(images)
