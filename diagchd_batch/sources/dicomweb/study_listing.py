"""Lists a server's instances, several studies at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from diagchd_batch.sources.dicomweb.address import instance_key
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection
from diagchd_batch.sources.dicomweb.errors import Kind, RequestFailedError
from diagchd_batch.sources.dicomweb.search import search_instances, search_studies
from diagchd_batch.sources.source import ObjectInfo

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")
U = TypeVar("U")


def keys_by_study(connection: DicomwebConnection, prefix: str, n_threads: int) -> Iterator[list[str]]:
    """Yield the keys of the instances of each study that the filters of the address match.

    Args:
        connection: The server.
        prefix: What the keys begin with; empty for all.
        n_threads: Number of studies that are asked for at a time.

    Raises:
        RequestFailedError: The server cannot be searched.
    """
    study = prefix.removeprefix("studies/").partition("/")[0]
    studies: Iterable[tuple[str, int | None]] = [(study, None)] if study else search_studies(connection)

    def keys(found: tuple[str, int | None]) -> list[str]:
        return [key for key in _keys_of_study(connection, *found) if key.startswith(prefix)]

    return _in_parallel(keys, studies, n_threads)


def headers_by_study(
    connection: DicomwebConnection, n_threads: int
) -> Iterator["list[tuple[ObjectInfo, Dataset, str | None]]"]:
    """Yield the headers of the instances of each study that the filters of the address match.

    Args:
        connection: The server.
        n_threads: Number of studies that are asked for at a time.

    Raises:
        RequestFailedError: The server cannot be searched, or does not send metadata.
    """
    from diagchd_batch.sources.dicomweb.study_headers import study_headers

    def headers(study: tuple[str, int | None]) -> "list[tuple[ObjectInfo, Dataset, str | None]]":
        try:
            found = study_headers(connection, study[0])
        except RequestFailedError as error:
            if error.failure.kind is Kind.NOT_FOUND:  # it was deleted since the search for studies
                return []
            raise
        if not connection.address.instance_filters:
            return found
        keys = set(_keys_of_study(connection, *study))
        return [header for header in found if header[0].key in keys]

    return _in_parallel(headers, search_studies(connection), n_threads)


def _keys_of_study(connection: DicomwebConnection, study: str, n_instances: int | None) -> list[str]:
    n_expected = None if connection.address.instance_filters else n_instances
    try:
        found = search_instances(connection, study, n_expected)
        return [instance_key(study, series, instance) for series, instance in found]
    except RequestFailedError as error:
        if error.failure.kind is Kind.NOT_FOUND:  # it was deleted since the search for studies
            return []
        raise


def _in_parallel(operation: Callable[[T], U], inputs: Iterable[T], n_threads: int) -> Iterator[U]:
    """Yield the results in the order of the inputs. No more than twice `n_threads` are computed ahead."""
    waiting: deque[Future[U]] = deque()
    executor = ThreadPoolExecutor(n_threads, thread_name_prefix="dicomweb")
    try:
        for one in inputs:
            waiting.append(executor.submit(operation, one))
            if len(waiting) >= 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
