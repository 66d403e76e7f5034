"""What a node of a cluster tells of itself before work begins. Imports nothing that may be missing there."""

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diagchd_batch.storage import Storage

PYTHON_FROM = (3, 11)
PACKAGES = (
    *("boto3", "duckdb", "h5py", "jinja2", "keras", "numpy", "pandas", "PIL", "pyarrow", "pydantic", "ray", "rich"),
    *("scipy", "sklearn", "statsmodels", "tensorflow", "typer", "yaml"),
)
"""What this package imports, by the names it imports them by; itself it is shipped with a job."""


def unfit() -> str:
    """What keeps this Python from running the package, with the remedy; empty where nothing does."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_FROM:
        return "Python {} is too old, {}.{} is needed; {}".format(found, *PYTHON_FROM, _REMEDY)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return "its Python {} lacks {}; {}".format(found, ", ".join(missing), _REMEDY)
    return ""


_REMEDY = "build the nodes' image from deploy/Dockerfile, or install diagchd-batch's dependencies there"


@dataclass(frozen=True)
class Question:
    """`trees`: setting → (URI of a tree that all nodes write to, key of what the driver has put there, its content).
    `input_key`: an object of the input, if it has any.
    """

    trees: "dict[str, tuple[str, str, bytes]]"
    input_uri: str
    input_key: "str | None"
    answer_suffix: str


@dataclass(frozen=True)
class Answer:
    """`unshared`: settings whose tree this node sees otherwise than the driver does; `problem`: why it cannot tell."""

    problem: str = ""
    unshared: "tuple[str, ...]" = ()


def look(question: Question) -> Answer:
    """Read what the driver wrote, and write beside it, under the same key with `answer_suffix`."""
    if problem := unfit():
        return Answer(problem)
    from diagchd_batch.errors import DiagchdBatchError, ItemError
    from diagchd_batch.scoring.settings import IMPATIENCE_S
    from diagchd_batch.storage import open_storage

    unshared = []
    try:
        for setting, (uri, key, content) in question.trees.items():
            tree = open_storage(uri, object_timeout_s=IMPATIENCE_S, owner_only=setting == "output.private_uri")
            if _has(tree, key) and tree.read(key) == content:
                tree.create(key + question.answer_suffix, content)
            else:
                unshared.append(setting)
        if question.input_key is not None:
            archive = open_storage(question.input_uri, object_timeout_s=IMPATIENCE_S)
            if not _has(archive, question.input_key):
                unshared.append("input.uri")
    except DiagchdBatchError as error:
        return Answer(str(error))
    except ItemError as error:
        return Answer(error.code.value)
    return Answer(unshared=tuple(unshared))


def _has(storage: "Storage", key: str) -> bool:
    from diagchd_batch.errors import StorageFault
    from diagchd_batch.storage.uris import S3_SCHEME

    try:
        return storage.stat(key) is not None
    except StorageFault:
        if storage.uri.startswith(S3_SCHEME):
            raise
        return False  # the directory itself is not there
