"""What a node of a cluster tells of itself before work begins. Imports nothing that may be missing there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diagchd_batch.cluster.node_checks.requirements import unfit

if TYPE_CHECKING:
    from diagchd_batch.sources import Source


@dataclass(frozen=True)
class Question:
    """`trees`: setting → (URI of a tree that all nodes write to, key of what the driver has put there, its content).
    `input_key`: an object of the input, if it has any. `versions`: of the driver's packages.
    """

    trees: "dict[str, tuple[str, str, bytes]]"
    input_uri: str
    input_key: "str | None"
    answer_suffix: str
    versions: "dict[str, str]"


@dataclass(frozen=True)
class Answer:
    """`unshared`: settings whose tree this node sees otherwise than the driver does; `problem`: why it cannot tell."""

    problem: str = ""
    unshared: "tuple[str, ...]" = ()


def look(question: Question) -> Answer:
    """Read what the driver wrote, and write beside it, under the same key with `answer_suffix`."""
    if problem := unfit():
        return Answer(problem)
    from diagchd_batch.cluster.node_checks.versions import version_differences
    from diagchd_batch.errors import DiagchdBatchError, ItemError
    from diagchd_batch.scoring.worker.settings import IMPATIENCE_S
    from diagchd_batch.sources import open_source
    from diagchd_batch.storage import open_store

    if problem := version_differences(question.versions):
        return Answer(problem)
    unshared = []
    try:
        for setting, (uri, key, content) in question.trees.items():
            tree = open_store(uri, object_timeout_s=IMPATIENCE_S, owner_only=setting == "output.private_uri")
            if _has(tree, key) and tree.read(key) == content:
                tree.create(key + question.answer_suffix, content)
            else:
                unshared.append(setting)
        if question.input_key is not None:
            archive = open_source(question.input_uri, object_timeout_s=IMPATIENCE_S)
            if not _has(archive, question.input_key):
                unshared.append("input.uri")
    except DiagchdBatchError as error:
        return Answer(str(error))
    except ItemError as error:
        return Answer(error.code.value)
    return Answer(unshared=tuple(unshared))


def _has(storage: "Source", key: str) -> bool:
    from diagchd_batch.errors import StorageFault
    from diagchd_batch.uris import S3_SCHEME

    try:
        return storage.stat(key) is not None
    except StorageFault:
        if storage.uri.startswith(S3_SCHEME):
            raise
        return False  # the directory itself is not there
