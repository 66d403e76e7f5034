"""Whether a worker's node is like the driver's: the same packages, the same input and output.

Nodes that are there when a run begins are asked by `cluster.preflight`; one that comes later is asked by its workers,
before their first shard: a node that sees another input would find no file of it, and make failed rows of them.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.versions import package_versions, version_differences
from diagchd_batch.errors import ItemError, RunFault, StorageFault
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.sources import Source, open_source
from diagchd_batch.storage import Store, open_store

SAMPLE = 20
"""Objects of the input, one of which a node must see: some may be removed while the run goes on."""


@contextmanager
def node_proof(run_id: str, submission: str, inputs: Source, output: Store, private: Store) -> Iterator[None]:
    """Within the block nodes can be checked by `check_node`: there is in both trees what only they can have."""
    proof = {
        "versions": package_versions(),
        "input_keys": [info.key for info in itertools.islice(inputs.list(), SAMPLE)],
    }
    mark, place = output_layout.node_mark(run_id, submission), output_layout.node_proof(run_id, submission)
    output.replace(mark, b"")
    private.replace(place, json.dumps(proof).encode())
    try:
        yield
    finally:
        with suppress(StorageFault, ItemError):  # it may be what failed
            output.delete(mark)
            private.delete(place)


def check_node(settings: RunSettings) -> None:
    """Raises RunFault where this node differs from the driver's."""
    timeout_s = settings.limits.object_timeout_s
    private = open_store(settings.private_uri, object_timeout_s=timeout_s, owner_only=True)
    output = open_store(settings.output_uri, object_timeout_s=timeout_s)
    inputs = open_source(settings.input_uri, object_timeout_s=timeout_s)
    try:
        proof = json.loads(private.read(output_layout.node_proof(settings.run_id, settings.submission)))
    except ItemError:
        raise _unshared("the private tree") from None
    if differences := version_differences(proof["versions"]):
        raise RunFault(differences)
    if output.stat(output_layout.node_mark(settings.run_id, settings.submission)) is None:
        raise _unshared("output.uri")
    keys = proof["input_keys"]
    if keys and not any(inputs.stat(key) for key in keys):
        raise _unshared("input.uri")


def _unshared(what: str) -> RunFault:
    return RunFault(
        f"{what} is not the same place there as for the driver; mount it at the same path, or take the node out, then "
        "give the same command again"
    )
