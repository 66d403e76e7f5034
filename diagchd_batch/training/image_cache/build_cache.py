"""Builds the cache of training images with Ray Data: one task decodes the images of one shard of the plan."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from diagchd_batch.cluster.ray_data_messages import silence_ray_data
from diagchd_batch.cluster.request_permits import RemotePermits, start_permits
from diagchd_batch.errors import DiagchdBatchError, RunFault
from diagchd_batch.sources.request_permits import RequestLimit
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.training.image_cache.decode_part import CachePlaces, decode_part
from diagchd_batch.uris import is_dicomweb_uri

_OUTCOME = "outcome"


def build_cache(
    places: CachePlaces, shards: Sequence[ShardReference], on_part: Callable[[int, int], None]
) -> tuple[str, ...]:
    """Decode all images that are not in the cache yet, in tasks of the Ray that this process is connected to.

    A task whose node dies is repeated elsewhere. What is decoded stays, so an interrupted build goes on.

    Args:
        places: The places and settings.
        shards: The shards of the plan.
        on_part: Called as each part is there, with the number of parts so far and of all.

    Returns:
        The names of the parts in the order of the shards, for `open_cache`.

    Raises:
        RunFault: A storage failed as a whole, or Ray gave up.
    """
    import ray.data

    permits = start_permits(places.dicomweb) if is_dicomweb_uri(places.input_uri) else None
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = -1  # one part of many large files may take long
    silence_ray_data()
    with ray.data.DataContext.current(context):
        dataset = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=max(1, len(shards)))
    decode: Any = _decode_in_task  # Ray's annotation does not know further arguments
    tasks = dataset.map_batches(
        decode,
        fn_kwargs={"pickled": pickle.dumps(places), "permits": permits},
        batch_size=1,
        num_cpus=places.threads,
    )
    names: dict[int, str] = {}
    try:
        for batch in tasks.iter_batches(batch_size=None, prefetch_batches=0):
            for text in batch[_OUTCOME]:
                outcome = json.loads(text)
                if "fault" in outcome:
                    raise RunFault(outcome["fault"])
                names[outcome["shard"]] = outcome["part"]
                on_part(len(names), len(shards))
    except DiagchdBatchError:
        raise
    except Exception as error:
        raise RunFault(
            f"Ray gave up while the training images were decoded ({type(error).__name__}); give the same command again"
        ) from error
    return tuple(names[shard.shard] for shard in shards)


def _decode_in_task(batch: Any, pickled: bytes, permits: Any) -> Any:
    """Decode one shard. Faults are answers, because Ray would write the text of an exception to its logs."""
    reference = ShardReference(**{name: int(values[0]) for name, values in batch.items()})
    places: CachePlaces = pickle.loads(pickled)
    try:
        part = decode_part(places, reference, None if permits is None else RequestLimit(RemotePermits(permits)))
    except DiagchdBatchError as error:
        return {_OUTCOME: [json.dumps({"fault": str(error)})]}
    return {_OUTCOME: [json.dumps({"shard": reference.shard, "part": part})]}
