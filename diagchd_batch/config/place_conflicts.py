"""Checks that a job's output does not lie in its input."""

import os

from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.uris import is_local_path, normalize_uri


def refuse_output_in_input(config: JobConfig) -> None:
    """Refuse an output among whose files a later inventory would find its own images.

    A manifest names its images one by one, so with a manifest any output is allowed.

    Raises:
        ConfigError: The output or its private tree lies in `input.uri`.
    """
    if config.input.layout == "manifest":
        return
    for name in ("uri", "private_uri"):
        uri = getattr(config.output, name)
        if uri is not None and _lies_in(_real(uri), _real(config.input.uri)):
            raise ConfigError(
                f"output.{name} ({uri}) lies in input.uri ({config.input.uri}), where layout {config.input.layout} "
                "takes whatever it finds: the next run would score pictures of reports. Put the output elsewhere, or "
                "name the images in a manifest (layout: manifest)"
            )


def _real(uri: str) -> str:
    uri = normalize_uri(uri)
    return os.path.realpath(uri) if is_local_path(uri) else uri


def _lies_in(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")
