"""Before a run on a cluster: every node can run the package, and sees the same input and output as the driver.

What the driver's own machine must fulfil is checked by `scoring.preflight`.
"""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.probe import Answer, Question, look
from diagchd_batch.cluster.node_checks.versions import package_versions
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.results.output import open_output
from diagchd_batch.sources import Source, open_source

NODE_TIMEOUT_S = 300.0
"""For a node's answer: its first task may have to wait until the package is unpacked there."""

_DIRECTORY = "preflight"
_NODES_NAMED = 5


def check_nodes(config: JobConfig) -> None:
    """To be called by a driver that is connected to Ray; each other node that lives is asked.

    Raises ConfigError where a tree is local to nodes, RunFault where a node cannot do the work. A node that ends
    meanwhile is no obstacle; one that comes later is asked by its workers (`scoring.node_proof`).
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    nodes = {
        node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here
    }
    if not nodes:
        return
    output = open_output(config.output.uri, config.output.private_uri)
    places = {"output.uri": output.storage}
    if config.output.private_uri:
        places["output.private_uri"] = output.private
    token = secrets.token_hex(8)
    key, content = f"{output_layout.RUNS_PREFIX}{_DIRECTORY}/{token}", token.encode()
    archive = open_source(config.input.uri)
    first = next(iter(archive.list()), None)
    question = Question(
        {setting: (place.uri, key, content) for setting, place in places.items()},
        archive.uri,
        None if first is None else first.key,
        "",
        package_versions(),
    )
    try:
        for place in places.values():
            place.create(key, content)
        answers = _ask(nodes, question)
        _refuse_unfit(nodes, answers)
        _refuse_unshared(nodes, answers, _unseen(places, key, answers))
    finally:
        for place in places.values():
            for name in (key, *(key + _suffix(node) for node in nodes)):
                place.delete(name)


def _ask(nodes: Mapping[str, str], question: Question) -> dict[str, Answer]:
    """Node id → its answer, of the nodes that live."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # it would tell of a failed task with its traceback
    task = ray.remote(look)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        own = replace(question, answer_suffix=_suffix(node))
        asked[node] = task.options(num_cpus=0, scheduling_strategy=there, max_retries=1).remote(own)
    answers = {}
    for node, answer in asked.items():
        try:
            answers[node] = ray.get(answer, timeout=NODE_TIMEOUT_S)
        except GetTimeoutError:
            answers[node] = Answer(f"no answer within {NODE_TIMEOUT_S:.0f} s; look at its Ray logs, or take it out")
        except RayError as error:
            if _lives(node):
                answers[node] = Answer(f"a first task failed there ({type(error).__name__}); look at its Ray logs")
    return answers


def _lives(node: str) -> bool:
    import ray

    return any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())


def _unseen(places: Mapping[str, Source], key: str, answers: Mapping[str, Answer]) -> dict[str, set[str]]:
    """Node id → trees where what it wrote is not to be seen from here."""
    return {
        node: {setting for setting, place in places.items() if place.stat(key + _suffix(node)) is None}
        for node in answers
    }


def _refuse_unfit(nodes: Mapping[str, str], answers: Mapping[str, Answer]) -> None:
    problems = [(nodes[node], answer.problem) for node, answer in answers.items() if answer.problem]
    if problems:
        raise RunFault("; ".join(f"node {name}: {problem}" for name, problem in problems[:_NODES_NAMED]))


def _refuse_unshared(nodes: Mapping[str, str], answers: Mapping[str, Answer], unseen: Mapping[str, set[str]]) -> None:
    for setting in ("input.uri", "output.uri", "output.private_uri"):
        names = [nodes[node] for node, answer in answers.items() if setting in {*answer.unshared, *unseen[node]}]
        if names:
            raise ConfigError(
                f"{setting} is not the same place on every node: {', '.join(sorted(names)[:_NODES_NAMED])} does not "
                "see there what the driver's node sees. Name a bucket (s3://…), or a directory of a file system that "
                "is mounted at the same path on all nodes"
            )


def _suffix(node: str) -> str:
    return f"-{node[:16]}"
