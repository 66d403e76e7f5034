"""An output opened for a command: its trees, its identifier key, its runs, and the input that it is made from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagchd_batch.config.job_file import DicomwebConfig, JobConfig, LimitsConfig
from diagchd_batch.config.overlapping_uris import refuse_private_in_output
from diagchd_batch.errors import ConfigError
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.sources import Source, open_source
from diagchd_batch.storage.timeouts import short_timeout_s
from diagchd_batch.studies.identifier_key import KEY_FILE_VARIABLE, KEY_VARIABLE, find_key, load_or_create_key
from diagchd_batch.studies.identifiers import Pseudonymizer

DEFAULT_OBJECT_TIMEOUT_S = LimitsConfig().object_timeout_s


@dataclass(repr=False)
class Workspace(Output):
    """The places that a command works on. Every command opens them in the same way, by `open` or `of_job`.

    Nothing is contacted or written before it is needed, except to find an output's private tree (`open_output`).

    Attributes:
        storage: The output: tables and reports without identifiers.
        private: The private tree: key, plans, sources and full error texts.
        input: The archive that is scored; None for a command that reads no image.
        environ: The environment variables, which may hold the identifier key.
    """

    input: Source | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @classmethod
    def open(
        cls,
        uri: str,
        private_uri: str | None = None,
        *,
        input_uri: str | None = None,
        dicomweb: DicomwebConfig = DicomwebConfig(),
        environ: Mapping[str, str] | None = None,
        object_timeout_s: float = DEFAULT_OBJECT_TIMEOUT_S,
    ) -> "Workspace":
        """Return the workspace of the output at `uri`.

        Args:
            uri: The output: a path or ``s3://bucket/prefix``.
            private_uri: Where the private tree lies, if not in ``_private/`` of the output.
            input_uri: The archive, for commands that read it.
            dicomweb: How the archive may be read if it is a PACS.
            environ: The environment variables; this process's by default.
            object_timeout_s: Seconds after which retries of one object end.

        Raises:
            ConfigError: A URI names no storage that is known, or the private tree lies among the output's tables.
            StorageFault: The storage cannot be asked for the private tree.
        """
        refuse_private_in_output(uri, private_uri)
        opened = open_output(uri, private_uri, object_timeout_s=object_timeout_s)
        archive = (
            None if input_uri is None else open_source(input_uri, object_timeout_s=object_timeout_s, dicomweb=dicomweb)
        )
        return cls(opened.storage, opened.private, archive, os.environ if environ is None else environ)

    @classmethod
    def of_job(cls, config: JobConfig, environ: Mapping[str, str] | None = None) -> "Workspace":
        """Return the workspace that a job file names, its input included.

        Args:
            config: The job file.
            environ: The environment variables, which may hold the identifier key; those of this process by default.
        """
        return cls.open(
            config.output.uri,
            config.output.private_uri,
            input_uri=config.input.uri,
            dicomweb=config.input.dicomweb,
            environ=environ,
            object_timeout_s=config.limits.object_timeout_s,
        )

    @property
    def archive(self) -> Source:
        """The input, for commands that were given one."""
        assert self.input is not None, "this workspace was opened without an input"
        return self.input

    def with_short_timeout(self, limits: LimitsConfig) -> "Workspace":
        """Return the output with a time-out for work that must not wait: monitoring, and a run's last words.

        Such work does not read the archive, so `input` is None.
        """
        return self.open(
            self.storage.uri,
            self.private.uri,
            environ=self.environ,
            object_timeout_s=short_timeout_s(limits.object_timeout_s),
        )

    def find_key(self) -> bytes | None:
        """Return the identifier key, or None if none was given or made so far. Writes nothing.

        Raises:
            ConfigError: The key that was given is malformed, or is not this output's.
        """
        return find_key(self.private, self.environ)

    def create_key(self) -> bytes:
        """Return the identifier key, and make it in the private tree if there is none.

        Raises:
            ConfigError: The key that was given is malformed, or is not this output's.
        """
        return load_or_create_key(self.private, self.environ)

    def pseudonymizer(self) -> Pseudonymizer:
        """Return the maker of this output's tokens.

        Raises:
            ConfigError: The key is neither given nor stored.
        """
        key = self.find_key()
        if key is None:
            raise ConfigError(
                "this output's identifier key is not in its private tree; say where that lies with --private-uri, or "
                f"set {KEY_VARIABLE} or {KEY_FILE_VARIABLE}"
            )
        return Pseudonymizer(key)
