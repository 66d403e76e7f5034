"""Names the settings of a job instead of the places that they hold, for texts that others may read.

The address of an archive may hold a patient's or a project's name. What a job on a cluster prints ends up in Ray's logs
and in the answers of its job API, for everyone who may see the cluster.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from diagchd_batch.config.job_file import EvaluationConfig, JobConfig
from diagchd_batch.config.training_block import IMAGENET, TrainingConfig
from diagchd_batch.errors import ConfigError, DiagchdBatchError
from diagchd_batch.output_layout import PRIVATE, PRIVATE_V1
from diagchd_batch.uris import is_local_path, normalize_uri, without_query

_UNNAMED = "an unforeseen fault"


class UriRedactor:
    """The settings that name places.

    Args:
        places: Each setting and its place. Where two settings name one place, the last one names it.
    """

    def __init__(self, places: Iterable[tuple[str, str]]) -> None:
        self._settings = {form: setting for setting, uri in places for form in _forms(uri)}
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


def job_places(config: JobConfig) -> Iterator[tuple[str, str]]:
    """Yield each setting of a job file that names a place, and the place.

    Args:
        config: The job file.
    """
    yield "model.weights", config.model.weights
    yield "model.name", config.model.name
    yield from table_places(config.evaluation)
    if config.input.manifest:
        yield "input.manifest", config.input.manifest
    if config.training:
        yield from _training_places(config.training)
    yield from output_places(config.output.uri, config.output.private_uri)
    yield "input.uri", config.input.uri


def _training_places(training: TrainingConfig) -> Iterator[tuple[str, str]]:
    if training.test and training.test.studies:
        yield "training.test.studies", training.test.studies
    yield "training.initial_weights", training.initial_weights.removeprefix(IMAGENET)
    yield "training.package_uri", training.package_uri


def table_places(evaluation: EvaluationConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of the tables that an evaluation reads, and their places.

    Args:
        evaluation: The evaluation's settings.
    """
    for table in ("reference", "readers", "covariates"):
        if uri := getattr(evaluation, table):
            yield f"evaluation.{table}", uri


def output_places(uri: str, private_uri: str | None) -> Iterator[tuple[str, str]]:
    """Yield the settings of an output and its private tree, and their places.

    Args:
        uri: The output.
        private_uri: The private tree, if it is not in the output.
    """
    for private in [private_uri] if private_uri else [f"{uri.rstrip('/')}/{name}" for name in (PRIVATE_V1, PRIVATE)]:
        yield "output.private_uri", private
    yield "output.uri", uri


def _forms(uri: str) -> set[str]:
    """Return the spellings in which a place may appear: as given, normalised, without links, and quoted."""
    forms = {uri} if "/" in uri else set()  # without a slash it could be an ordinary word
    with suppress(ConfigError):
        forms.add(normalize_uri(uri))
    # A PACS is named without its filters in messages, and a library could name it as the URL that it asks.
    forms |= {without_query(form) for form in forms}
    forms |= {form.removeprefix("dicomweb+") for form in forms}
    forms |= {os.path.realpath(form) for form in forms if is_local_path(form)}
    forms |= {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
    return {form.rstrip("/") or "/" for form in forms}
