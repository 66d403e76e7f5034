"""What a node reports about itself before work begins. Imports nothing that a node may lack."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagchd_batch.cluster.node_checks.python_requirements import unsuitable_node

if TYPE_CHECKING:
    from diagchd_batch.sources import Source


@dataclass(frozen=True)
class NodeProbe:
    """What the driver asks a node to check.

    Attributes:
        trees: For each setting of the job file that names a tree which all nodes write to: its URI, the key of the
            file that the driver wrote there, and that file's content.
        input_uri: The archive.
        input_key: The key of one object of the archive, or None if it is empty.
        answer_suffix: What the node appends to the key of the driver's file to name its own file beside it.
        versions: The driver's `package_versions`.
        dicomweb: How the archive may be read if it is a PACS: the block `input.dicomweb`.
    """

    trees: "dict[str, tuple[str, str, bytes]]"
    input_uri: str
    input_key: "str | None"
    answer_suffix: str
    versions: "dict[str, str]"
    dicomweb: "dict[str, Any]" = field(default_factory=dict)


@dataclass(frozen=True)
class NodeReport:
    """What a node answers.

    Attributes:
        problem: Why the node cannot work or cannot tell, with the remedy; empty if it can work.
        unshared: The settings whose tree this node sees differently from the driver.
    """

    problem: str = ""
    unshared: "tuple[str, ...]" = ()


def probe_node(probe: NodeProbe) -> NodeReport:
    """Check this node: read what the driver wrote, and write a file beside it.

    Args:
        probe: What to check.

    Returns:
        What the node found. It is never an exception, because Ray would log its traceback, with paths.
    """
    if problem := unsuitable_node():
        return NodeReport(problem)
    from diagchd_batch.cluster.node_checks.package_versions import version_differences
    from diagchd_batch.config.job_file import DicomwebConfig
    from diagchd_batch.errors import DiagchdBatchError, ItemError
    from diagchd_batch.sources import open_source
    from diagchd_batch.storage import open_store
    from diagchd_batch.storage.timeouts import SHORT_TIMEOUT_S

    if problem := version_differences(probe.versions):
        return NodeReport(problem)
    unshared = []
    try:
        for setting, (uri, key, content) in probe.trees.items():
            tree = open_store(uri, object_timeout_s=SHORT_TIMEOUT_S, owner_only=setting == "output.private_uri")
            if _has(tree, key) and tree.read(key) == content:
                tree.create(key + probe.answer_suffix, content)
            else:
                unshared.append(setting)
        if probe.input_key is not None:
            dicomweb = DicomwebConfig(**probe.dicomweb)
            archive = open_source(probe.input_uri, object_timeout_s=SHORT_TIMEOUT_S, dicomweb=dicomweb)
            if not _has(archive, probe.input_key):
                unshared.append("input.uri")
    except DiagchdBatchError as error:
        return NodeReport(str(error))
    except ItemError as error:
        return NodeReport(error.code.value)
    return NodeReport(unshared=tuple(unshared))


def _has(storage: "Source", key: str) -> bool:
    from diagchd_batch.errors import StorageFault
    from diagchd_batch.uris import is_local_path

    try:
        return storage.stat(key) is not None
    except StorageFault:
        if not is_local_path(storage.uri):
            raise
        return False  # the directory itself is missing
