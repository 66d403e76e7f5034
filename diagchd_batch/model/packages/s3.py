"""Model packages below an S3 prefix. The weights are fetched once a node, into a private cache."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diagchd_batch.errors import ConfigError, ItemError, RunFault, WeightsError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.model.card import WeightsFile
from diagchd_batch.model.packages.package import CARD, MAX_CARD_BYTES, MAX_EXTRA_BYTES, file_digest
from diagchd_batch.sources import Source, open_source

_OTHERS_MAY_WRITE = 0o022


class S3Package:
    """A `ModelPackage` below an S3 prefix."""

    def __init__(self, location: str) -> None:
        """Name the package at `location`, ``s3://bucket/prefix``. Nothing is contacted yet."""
        self.location = location
        self._source: Source = open_source(location)

    def read_card(self) -> bytes:
        """See `ModelPackage.read_card`."""
        try:
            return self._source.read(CARD, max_bytes=MAX_CARD_BYTES)
        except ItemError as error:
            raise ConfigError(
                f"model.name: {self.location} is no model package: its {CARD} cannot be read ({error.code.value}); "
                "give the prefix that holds the card and the weights"
            ) from error

    def read_optional(self, name: str) -> bytes | None:
        """See `ModelPackage.read_optional`."""
        try:
            return self._source.read(name, max_bytes=MAX_EXTRA_BYTES)
        except ItemError as error:
            if error.code is FailureCode.NOT_FOUND:
                return None
            raise ConfigError(
                f"{name} of model {self.location} cannot be read ({error.code.value}); restore it"
            ) from error

    def weights_path(self, weights: WeightsFile) -> Path:
        """Return the path of a weights file in this machine's cache, and fetch it first if it is not there.

        Files in the cache are named after their digest. Of several processes that need the same file, one fetches it
        while the others wait.

        Args:
            weights: The file, from the package's card.

        Raises:
            WeightsError: The prefix does not hold the file, or holds another content than the card says.
            StorageFault: The bucket cannot be reached.
            RunFault: The cache cannot be written, or other users may write to it.
        """
        try:
            with _locked_cache() as directory:
                path = directory / f"{weights.sha256}.h5"
                if not path.exists() or file_digest(path) != weights.sha256:
                    _replace(path, self._fetch(weights))
                return path
        except OSError as error:
            raise RunFault(
                f"the cache of fetched models, {_cache_directory()}, cannot be used: {error.strerror}; free some space "
                "or set XDG_CACHE_HOME to another directory, then give the same command again"
            ) from error

    def _fetch(self, weights: WeightsFile) -> bytes:
        try:
            data = self._source.read(weights.file, max_bytes=weights.size_bytes)
        except ItemError as error:
            if error.code is not FailureCode.TOO_LARGE:
                raise WeightsError(
                    f"the weights {weights.file} of model {self.location} cannot be read ({error.code.value}); upload "
                    "them, or give another package"
                ) from error
            data = b""  # a larger object cannot have the digest of the card
        if hashlib.sha256(data).hexdigest() != weights.sha256:
            raise WeightsError(
                f"the weights {weights.file} of model {self.location} are not those of its card; upload the card and "
                "the weights of one version"
            )
        return data


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "diagchd-batch" / "models"


@contextmanager
def _locked_cache() -> Iterator[Path]:
    """Give the cache to one process at a time. Raises OSError, or RunFault if others may write to it."""
    directory = _cache_directory()
    for level in (directory.parent, directory):
        level.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = level.stat()
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
            raise RunFault(
                f"the cache of fetched models, {level}, belongs to another user, or other users may write to it; "
                "remove it, or set XDG_CACHE_HOME to a directory of your own"
            )
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix="fetching-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
