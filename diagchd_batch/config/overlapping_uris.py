"""Checks that an output, its private tree and the archive are places of their own."""

import os
from pathlib import Path

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.output_layout import PRIVATE, PRIVATE_V1
from diagchd_batch.uris import is_local_path, join_uri, normalize_uri, scheme_of


def refuse_overlapping_places(config: JobConfig) -> None:
    """Refuse an output among whose files a later inventory would find its own images, and a private tree in others.

    A manifest names its images one by one, so with a manifest the output may lie in the archive, and its private tree
    with it.

    Raises:
        ConfigError: An address is malformed or holds a password, the output lies in `input.uri`, `output.private_uri`
            overlaps with `output.uri` or `input.uri`, or `training.package_uri` overlaps with one of the three.
    """
    tables = config.evaluation
    for uri in (config.input.uri, config.input.manifest, tables.reference, tables.readers, tables.covariates):
        if uri is not None:
            normalize_uri(uri)  # An address with a password is refused before the output is contacted.
    refuse_private_in_output(config.output.uri, config.output.private_uri)
    if config.input.layout != "manifest":
        for name in ("uri", "private_uri"):
            uri = getattr(config.output, name)
            if uri is not None and _lies_in(uri, config.input.uri):
                raise ConfigError(
                    f"output.{name} ({uri}) lies in input.uri ({config.input.uri}), where layout "
                    f"{config.input.layout} takes whatever it finds: the next run would score pictures of reports. "
                    "Put the output elsewhere, or name the images in a manifest (layout: manifest)"
                )
    if config.training is not None:
        _refuse_package_among_data(config, config.training.package_uri)
    private_uri = config.output.private_uri
    if private_uri is None or _is_default(private_uri, config.output.uri):
        return
    if _overlap(private_uri, config.input.uri):
        raise ConfigError(
            f"output.private_uri ({private_uri}) and input.uri ({config.input.uri}) lie in each other: the identifier "
            "key would lie with the archive, for all who read that. Choose a place apart from it, or omit "
            "output.private_uri"
        )


def _refuse_package_among_data(config: JobConfig, package_uri: str) -> None:
    """Refuse a model package, which is given to others, that lies in the archive or the output, or holds one of them.

    With a manifest the package may lie in the archive, as the output may.
    """
    places = {"input.uri": config.input.uri, "output.uri": config.output.uri}
    if config.output.private_uri is not None:
        places["output.private_uri"] = config.output.private_uri
    for name, uri in places.items():
        may_be_inside = name == "input.uri" and config.input.layout == "manifest"
        if _lies_in(uri, package_uri) or (_lies_in(package_uri, uri) and not may_be_inside):
            raise ConfigError(
                f"training.package_uri ({package_uri}) and {name} ({uri}) lie in each other: a package is copied and "
                "given to others as one thing, and patients' data must not lie in it. Choose a place apart from "
                "input.uri, output.uri and output.private_uri"
            )


def refuse_private_in_output(uri: str, private_uri: str | None) -> None:
    """Refuse a private tree among the files that are given to others.

    Args:
        uri: The output.
        private_uri: The place of its private tree; None for ``_private/`` in the output.

    Raises:
        ConfigError: The private tree is neither ``_private/`` in the output nor a place apart from it.
    """
    if private_uri is None or _is_default(private_uri, uri) or not _overlap(private_uri, uri):
        return
    raise ConfigError(
        f"output.private_uri ({private_uri}) and output.uri ({uri}) lie in each other: the identifier key and the "
        "names behind the tokens would lie among the tables that others receive. Choose a place apart from the output, "
        f"or omit output.private_uri, which then is {PRIVATE}/ in the output"
    )


def _is_default(private_uri: str, uri: str) -> bool:
    return _comparable(private_uri) in [_comparable(join_uri(uri, name)) for name in (PRIVATE, PRIVATE_V1)]


def _overlap(one: str, other: str) -> bool:
    return _lies_in(one, other) or _lies_in(other, one)


def _lies_in(inner: str, outer: str) -> bool:
    """Return whether `inner` is `outer` or below it, also by way of links and of directories with two names."""
    inner, outer = _comparable(inner), _comparable(outer)
    if f"{inner}/".startswith(f"{outer.rstrip('/')}/"):
        return True
    if not (is_local_path(inner) and is_local_path(outer)):
        return False
    return any(_is_same_file(path, Path(outer)) for path in (Path(inner), *Path(inner).parents))


def _comparable(uri: str) -> str:
    """Return the one form of a place, in which the cases of scheme and bucket and doubled slashes do not count."""
    uri = normalize_uri(uri)
    if is_local_path(uri):
        return os.path.realpath(uri)
    host, *parts = (part for part in uri.partition("://")[2].split("/") if part)
    return "/".join([f"{scheme_of(uri)}://{host.lower()}", *parts])


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one does not exist yet, or cannot be looked at
        return False
