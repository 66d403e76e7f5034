"""Binds an output to one input root, because tokens are made from paths relative to it.

Two roots with equal relative paths would give two patients the same tokens. So the first run's root is recorded in the
private tree, and another root is refused unless the user declares with `--input-moved` that the archive was moved.
"""

from typing import ClassVar

from diagchd_batch import output_layout
from diagchd_batch.errors import ConfigError
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.results.lineage import newest_runs
from diagchd_batch.scoring.driver.run_identity.identity import read_identity
from diagchd_batch.storage import Store
from diagchd_batch.uris import normalize_uri, without_query


class InputRoot(JsonRecord):
    """Where an output's archive lies. The filters of a PACS are no part of it, because they name no other archive.

    Attributes:
        first: The URI of the first run. It stands for the archive in the identity of every run, so that run ids and
            lineages survive a move.
        current: The URI of today.
    """

    remedy: ClassVar[str] = (
        "restore it from a backup, or delete it and give the same command again, which takes the root of the newest run"
    )

    first: str
    current: str


def resolve_input_root(output: Store, private: Store, uri: str, *, moved: bool) -> InputRoot:
    """Return the root that a job with `input.uri` uses on this output. Writes nothing.

    Args:
        output: The output.
        private: Its private tree.
        uri: `input.uri` of the job.
        moved: Whether the user declares that the archive was moved to `uri`.

    Raises:
        ConfigError: The output is bound to another root, and the archive was not declared as moved.
        DamagedRecordError: The recorded root cannot be read.
    """
    uri = without_query(normalize_uri(uri))
    bound = InputRoot.read(private, output_layout.INPUT_ROOT) or _root_of_newest_run(output, private)
    if bound is None:
        return InputRoot(first=uri, current=uri)
    if moved:
        return InputRoot(first=bound.first, current=uri)
    if bound.current != uri:
        raise _another_root()
    return bound


def bind_input_root(private: Store, root: InputRoot) -> None:
    """Record the root of the output's first run. Of two drivers with different roots, one is refused.

    Args:
        private: The private tree.
        root: The root of the job's archive.

    Raises:
        ConfigError: Another driver has bound the output to another root in the meantime.
    """
    key = output_layout.INPUT_ROOT
    if not root.create(private, key) and InputRoot.read(private, key) != root:
        raise _another_root()


def move_input_root(private: Store, root: InputRoot) -> None:
    """Record that the archive was moved to `root.current`.

    Args:
        private: The private tree.
        root: The archive's first root, and the root where it lies now.
    """
    root.write(private, output_layout.INPUT_ROOT)


def _root_of_newest_run(output: Store, private: Store) -> InputRoot | None:
    """Outputs of versions that recorded no root are bound to that of their newest run."""
    for record in newest_runs(output, on_damaged=lambda *_: None):
        identity = read_identity(private, record.run_id)
        if identity is not None:
            uri = without_query(identity.input_fields["uri"])
            return InputRoot(first=uri, current=uri)
    return None


def _another_root() -> ConfigError:
    return ConfigError(
        "input.uri is not the root that this output's runs were made from: files with equal relative paths would get "
        f"the same tokens, so that two patients become one (the root is recorded in {output_layout.INPUT_ROOT} in the "
        "private tree). Choose another output.uri; or, if it is the same archive in a new place, give --input-moved"
    )
