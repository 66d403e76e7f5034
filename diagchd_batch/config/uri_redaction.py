"""Names the settings of a job instead of the places that they hold, for texts that others may read.

The address of an archive may hold a patient's or a project's name. What a job on a cluster prints ends up in Ray's logs
and in the answers of its job API, for everyone who may see the cluster.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress

from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import ConfigError, DiagchdBatchError
from diagchd_batch.output_layout import PRIVATE, PRIVATE_V1
from diagchd_batch.uris import is_local_path, normalize_uri

_UNNAMED = "an unforeseen fault"


class UriRedactor:
    """The settings of one job file that name places.

    Args:
        config: The job file.
    """

    def __init__(self, config: JobConfig) -> None:
        self._settings = {form: setting for setting, uri in _places(config) for form in _forms(uri)}
        # The longest first, because a manifest may lie in the archive. What follows decides whether it is the place
        # itself, something below it or another place that begins alike.
        places = "|".join(map(re.escape, sorted(self._settings, key=len, reverse=True)))
        self._pattern = re.compile(rf"(?<![\w/])(?P<place>{places})(?P<rest>/*(?=[\s'\"),;:]|\.?(?:\s|$))|.*)")

    def hide(self, text: str) -> str:
        """Return `text` with the names of settings in place of the places that they hold.

        A text that goes on below a place, such as the path of one of its files, is cut there to the end of its line,
        because nothing tells where such a path ends.
        """
        return self._pattern.sub(self._name, text)

    def public_text(self, error: BaseException) -> str:
        """Return what may be printed of an exception: the whole message without places, or only its kind.

        Args:
            error: Any exception. Only messages of this package's own faults are known to name no file.
        """
        if isinstance(error, DiagchdBatchError):
            return self.hide(str(error))
        if isinstance(error, OSError) and error.errno:
            where = self._setting_of(error.filename)
            return f"{_UNNAMED} ({type(error).__name__}{where}: {os.strerror(error.errno)})"
        return f"{_UNNAMED} ({type(error).__name__})"

    def _name(self, match: re.Match[str]) -> str:
        setting = self._settings[match["place"]]
        return setting if not match["rest"].strip("/") else f"{setting}/…"

    def _setting_of(self, path: object) -> str:
        found = self._pattern.match(str(path))
        return f" in {self._settings[found['place']]}" if found else ""


def _places(config: JobConfig) -> Iterator[tuple[str, str]]:
    """Yield each setting and its place. Where two settings name one place, the last that is yielded names it."""
    yield "model.weights", config.model.weights
    yield "model.name", config.model.name
    for table in ("reference", "readers", "covariates"):
        if uri := getattr(config.evaluation, table):
            yield f"evaluation.{table}", uri
    if config.input.manifest:
        yield "input.manifest", config.input.manifest
    for private_uri in [config.output.private_uri] if config.output.private_uri else _default_private_uris(config):
        yield "output.private_uri", private_uri
    yield "output.uri", config.output.uri
    yield "input.uri", config.input.uri


def _default_private_uris(config: JobConfig) -> list[str]:
    return [f"{config.output.uri.rstrip('/')}/{name}" for name in (PRIVATE_V1, PRIVATE)]


def _forms(uri: str) -> set[str]:
    """Return the spellings in which a place may appear: as given, normalised, without links, and quoted."""
    forms = {uri} if "/" in uri else set()  # without a slash it could be an ordinary word
    with suppress(ConfigError):
        forms.add(normalize_uri(uri))
    forms |= {os.path.realpath(form) for form in forms if is_local_path(form)}
    forms |= {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
    return {form.rstrip("/") or "/" for form in forms}
