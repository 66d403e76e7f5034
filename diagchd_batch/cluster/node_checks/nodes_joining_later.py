"""The check of a node that joins after a run began: it must see the input and the output that the driver sees.

Nodes that are there when a run begins are checked by `nodes_at_start`. A node that joins later is checked by each actor
that starts on it, before its first shard: without the archive it would find no file, and record failures.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.package_versions import package_versions, version_differences
from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.sources import Source, open_source
from diagchd_batch.storage import Store, open_store

N_SAMPLED_OBJECTS = 20
"""Objects of the input of which a node must see at least one: some may be removed during the run."""


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """The trees of one submission of a run, as every node must see them.

    Attributes:
        run_id: The run.
        submission: The submission, a random token.
        input_uri: The archive.
        output_uri: The output.
        private_uri: The private tree.
        object_timeout_s: Seconds that storage is waited for.
        dicomweb: How the archive may be read if it is a PACS.
    """

    run_id: str
    submission: str
    input_uri: str
    output_uri: str
    private_uri: str
    object_timeout_s: float
    dicomweb: DicomwebConfig


class NodeProof(JsonRecord):
    """What a worker's node is checked against. It lies in the private tree while a submission lives.

    Attributes:
        versions: The driver's `package_versions`.
        input_keys: The keys of some objects of the input.
    """

    remedy: ClassVar[str] = "submit the job again, which writes it anew"

    versions: dict[str, str]
    input_keys: list[str]


@contextmanager
def node_marks(run_id: str, submission: str, inputs: Source, output: Store, private: Store) -> Iterator[None]:
    """Keep marks in both trees within the block, so that `late_node_problem` can recognise the trees.

    Args:
        run_id: The run.
        submission: The submission.
        inputs: The archive.
        output: The output, which gets an empty mark.
        private: The private tree, which gets the driver's package versions and the keys of some input objects.

    Yields:
        Nothing; the marks exist while the block runs.
    """
    input_keys = [info.key for info in itertools.islice(inputs.list(), N_SAMPLED_OBJECTS)]
    public_key, private_key = output_layout.node_mark(run_id, submission), output_layout.node_proof(run_id, submission)
    output.replace(public_key, b"")
    NodeProof(versions=package_versions(), input_keys=input_keys).write(private, private_key)
    try:
        yield
    finally:
        with suppress(StorageFault, ItemError):  # storage may be what failed
            output.delete(public_key)
            private.delete(private_key)


def late_node_problem(places: RunPlaces) -> str:
    """Return why this node cannot work on the run, with the remedy, or an empty string if it can.

    Args:
        places: The run's trees.

    Raises:
        StorageFault: Storage does not answer.
        DamagedRecordError: What the node is checked against is damaged.
    """
    private = open_store(places.private_uri, object_timeout_s=places.object_timeout_s, owner_only=True)
    output = open_store(places.output_uri, object_timeout_s=places.object_timeout_s)
    inputs = open_source(places.input_uri, object_timeout_s=places.object_timeout_s, dicomweb=places.dicomweb)
    proof = NodeProof.read(private, output_layout.node_proof(places.run_id, places.submission))
    if proof is None:
        return _unshared("the private tree")
    if differences := version_differences(proof.versions):
        return differences
    if output.stat(output_layout.node_mark(places.run_id, places.submission)) is None:
        return _unshared("output.uri")
    if proof.input_keys and not any(inputs.stat(key) for key in proof.input_keys):
        return _unshared("input.uri")
    return ""


def actor_memory_bytes() -> int:
    """Return this actor's share of the memory that Ray may give out on this node, by its share of the cores."""
    import ray

    context = ray.get_runtime_context()
    resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    cpus = context.get_assigned_resources().get("CPU", 0.0)
    return int(resources.get("memory", 0.0) * min(1.0, cpus / max(1.0, resources.get("CPU", 0.0))))


def memory_problem(needed_bytes: int, available_bytes: int) -> str:
    """Return why an actor has too little memory for a batch; empty if it has enough.

    Args:
        needed_bytes: Bytes that the batch needs.
        available_bytes: Bytes that the actor has.
    """
    if available_bytes >= needed_bytes:
        return ""
    return (
        f"an actor has {available_bytes / 2**30:.1f} GiB of memory there, and the run's batch needs "
        f"{needed_bytes / 2**30:.1f} GiB; use nodes with as much memory as those that were there when the run began, "
        "or begin a run with a smaller model.batch_size"
    )


def _unshared(place: str) -> str:
    return f"{place} is not the same place there as for the driver; mount it at the same path on every node"
