"""Checks every node of a cluster before a run begins: it can run the package and sees the driver's input and output."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.node_report import NodeProbe, NodeReport, probe_node
from diagchd_batch.cluster.node_checks.package_versions import package_versions
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.results.output import open_output
from diagchd_batch.sources import Source, open_source

REPORT_TIMEOUT_S = 300.0
"""How long a node's report is waited for: the package may have to be unpacked there first."""

_DIRECTORY = "preflight"
_MAX_NODES_NAMED = 5


def check_nodes(config: JobConfig) -> None:
    """Probe every living node but this one. A node that ends meanwhile is ignored.

    A node that joins later is checked by the actors that start on it (`nodes_joining_later`).

    Args:
        config: The job.

    Raises:
        ConfigError: A tree of the job is not the same on all nodes.
        RunFault: A node cannot do the work.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    nodes = {
        node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here
    }
    if not nodes:
        return
    output = open_output(config.output.uri, config.output.private_uri)
    trees = {"output.uri": output.storage}
    if config.output.private_uri:
        trees["output.private_uri"] = output.private
    token = secrets.token_hex(8)
    key, content = f"{output_layout.RUNS_PREFIX}{_DIRECTORY}/{token}", token.encode()
    archive = open_source(config.input.uri, dicomweb=config.input.dicomweb)
    first = next(iter(archive.list()), None)
    probe = NodeProbe(
        {setting: (tree.uri, key, content) for setting, tree in trees.items()},
        archive.uri,
        None if first is None else first.key,
        "",
        package_versions(),
        config.input.dicomweb.model_dump(),
    )
    try:
        for tree in trees.values():
            tree.create(key, content)
        reports = _probe(nodes, probe)
        _refuse_unsuitable(nodes, reports)
        _refuse_unshared(nodes, reports, _unseen_answers(trees, key, reports))
    finally:
        for tree in trees.values():
            for name in (key, *(key + _suffix(node) for node in nodes)):
                tree.delete(name)


def _probe(nodes: Mapping[str, str], probe: NodeProbe) -> dict[str, NodeReport]:
    """Return the report of each node that lives, by node id."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # it would log the traceback of a failed task
    task = ray.remote(probe_node)
    pending = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        own = replace(probe, answer_suffix=_suffix(node))
        pending[node] = task.options(num_cpus=0, scheduling_strategy=there, max_retries=1).remote(own)
    reports = {}
    for node, report in pending.items():
        try:
            reports[node] = ray.get(report, timeout=REPORT_TIMEOUT_S)
        except GetTimeoutError:
            reports[node] = NodeReport(f"no answer within {REPORT_TIMEOUT_S:.0f} s; read its Ray logs, or remove it")
        except RayError as error:
            if _is_alive(node):
                reports[node] = NodeReport(f"a first task failed there ({type(error).__name__}); read its Ray logs")
    return reports


def _is_alive(node: str) -> bool:
    import ray

    return any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def _unseen_answers(trees: Mapping[str, Source], key: str, reports: Mapping[str, NodeReport]) -> dict[str, set[str]]:
    """Return, by node id, the trees in which this process does not see the node's answer."""
    return {
        node: {setting for setting, tree in trees.items() if tree.stat(key + _suffix(node)) is None} for node in reports
    }


def _refuse_unsuitable(nodes: Mapping[str, str], reports: Mapping[str, NodeReport]) -> None:
    problems = [(nodes[node], report.problem) for node, report in reports.items() if report.problem]
    if problems:
        raise RunFault("; ".join(f"node {name}: {problem}" for name, problem in problems[:_MAX_NODES_NAMED]))


def _refuse_unshared(
    nodes: Mapping[str, str], reports: Mapping[str, NodeReport], unseen: Mapping[str, set[str]]
) -> None:
    for setting in ("input.uri", "output.uri", "output.private_uri"):
        names = [nodes[node] for node, report in reports.items() if setting in {*report.unshared, *unseen[node]}]
        if names:
            raise ConfigError(
                f"{setting} is not the same place on every node: {', '.join(sorted(names)[:_MAX_NODES_NAMED])} does "
                "not see there what the driver's node sees. Name a bucket (s3://…), or a directory of a file system "
                "that is mounted at the same path on all nodes"
            )


def _suffix(node: str) -> str:
    return f"-{node[:16]}"
