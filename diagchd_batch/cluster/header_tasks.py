"""Reads the headers of an archive in Ray tasks, for the index of headers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pyarrow as pa

from diagchd_batch.errors import RunFault
from diagchd_batch.sources import ObjectInfo, Source
from diagchd_batch.studies.header_index.read_many import ReadChunks, threaded_reader

_CHUNKS_PER_TASK = 8
_TASKS_PER_CORE = 2


def ray_reader(source: Source) -> ReadChunks:
    """Return a function that reads headers in tasks of the Ray cluster that this process is connected to.

    A task whose node dies is repeated elsewhere. Few tasks are in flight at a time, so memory does not depend on the
    number of objects.

    Args:
        source: The archive, which every node must reach.
    """

    def read(chunks: Iterable[Sequence[ObjectInfo]]) -> Iterator[pa.Table]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        task = ray.remote(num_cpus=1)(_read_in_task)
        waiting: list[ray.ObjectRef[pa.Table]] = []
        left = iter(chunks)
        try:
            while True:
                cores = int(ray.cluster_resources().get("CPU", 1))  # nodes may join or leave
                while len(waiting) < _TASKS_PER_CORE * cores and (some := list(islice(left, _CHUNKS_PER_TASK))):
                    waiting.append(task.remote(source, some))
                if not waiting:
                    return
                done, waiting = ray.wait(waiting, num_returns=1)
                yield ray.get(done[0])
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except RayError as error:
            raise RunFault(
                f"Ray could not read headers ({type(error).__name__}); what was read stays: give the same command again"
            ) from error
        finally:
            for reference in waiting:
                ray.cancel(reference)

    return read


def _read_in_task(source: Source, chunks: list[Sequence[ObjectInfo]]) -> pa.Table:
    return pa.concat_tables(threaded_reader(source)(chunks))
