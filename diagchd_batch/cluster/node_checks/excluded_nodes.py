"""Excludes a node that joined during a run and cannot work on it: the run goes on with the other nodes.

An actor that starts on such a node reports the problem to an actor beside the driver and ends itself, and Ray starts it
again wherever there is room. The driver fills the node with idle tasks, so that there is no room on that node. Ray has
no other way to keep an actor that is started again off a node: its scheduling options are fixed when it is created.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

_EXCLUSION_TIMEOUT_S = 60.0
"""How long an actor waits until its node is filled. It may be started there again if that takes longer."""

_POLL_S = 1.0
_IDLE_S = 3600.0


class NodeReports:
    """The actor beside the driver that collects what actors report about their nodes."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._unread: list[tuple[str, str, str]] = []
        self._excluded: set[str] = set()

    def report(self, node_id: str, name: str, problem: str) -> None:
        """Note why a node cannot work. Only the first report of a node counts.

        Args:
            node_id: Ray's id of the node.
            name: The node's host name.
            problem: Why it cannot work, with the remedy.
        """
        if node_id not in self._known:
            self._known.add(node_id)
            self._unread.append((node_id, name, problem))

    def unread(self) -> list[tuple[str, str, str]]:
        """Return the reports since the last call: node id, name of the node, problem."""
        unread, self._unread = self._unread, []
        return unread

    def exclude(self, node_id: str) -> None:
        """Note that the node is filled."""
        self._excluded.add(node_id)

    def is_excluded(self, node_id: str) -> bool:
        """Return whether the node is filled, so that an actor that leaves it does not come back."""
        return node_id in self._excluded


class ExcludedNodes:
    """The driver's side. The exclusions last until this process disconnects from Ray.

    Args:
        cpus: Processor cores of one actor.
        gpus: GPUs of one actor.
        say: Gets a message for each node that is excluded.

    Attributes:
        reports: The handle of a `NodeReports` actor, for `leave_node`.
    """

    def __init__(self, cpus: float, gpus: float, say: Callable[[str], None]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._resource, self._per_actor = ("GPU", gpus) if gpus else ("CPU", cpus)
        self._say = say
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.reports: Any = ray.remote(NodeReports).options(num_cpus=0, scheduling_strategy=here).remote()
        self._answer: Any = None
        self._fillers: list[Any] = []  # Ray ends a task that nobody refers to

    def update(self) -> None:
        """Exclude the nodes that were reported since the last call. It never waits, so a tick may call it."""
        import ray
        from ray.exceptions import RayError

        if self._answer is None:
            self._answer = self.reports.unread.remote()
        ready, _ = ray.wait([self._answer], timeout=0)
        if not ready:
            return
        answer, self._answer = self._answer, None
        with suppress(RayError):  # the actor may be gone with its node, and then so is this process soon
            for node_id, name, problem in ray.get(answer):
                self._fill(node_id)
                self.reports.exclude.remote(node_id)
                self._say(f"node {name} is left out, the run goes on with the others: {problem}")

    def _fill(self, node_id: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        resources: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id), {})
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        task = ray.remote(_idle)
        for n_slots in filler_sizes(int(resources.get(self._resource, 0.0) // self._per_actor)):
            amount = {f"num_{self._resource.lower()}s": n_slots * self._per_actor}
            options = {"num_cpus": 0, "scheduling_strategy": there, "max_retries": 0} | amount
            self._fillers.append(task.options(**options).remote())


def filler_sizes(n_slots: int) -> Iterator[int]:
    """Yield the sizes of the tasks that fill a node with room for `n_slots` actors: 1, 2, 4, … and the rest.

    Small tasks take the place of an actor as soon as it leaves; large ones keep the number of processes low.
    """
    size = 1
    while n_slots > 0:
        size = min(size, n_slots)
        yield size
        n_slots -= size
        size *= 2


def leave_node(reports: Any, problem: str) -> NoReturn:
    """Report this node and end this process, an actor of Ray, which Ray then starts again on another node.

    Args:
        reports: The handle of the driver's `NodeReports`.
        problem: Why this node cannot work, with the remedy.
    """
    import ray
    from ray.exceptions import RayError

    node_id = ray.get_runtime_context().get_node_id()
    deadline_s = time.monotonic() + _EXCLUSION_TIMEOUT_S
    with suppress(RayError):  # the driver is gone, and Ray ends this process
        ray.get(reports.report.remote(node_id, platform.node(), problem))
        while not ray.get(reports.is_excluded.remote(node_id)) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
    time.sleep(_POLL_S)  # the tasks that fill the node are on their way
    os._exit(1)


def _idle() -> None:
    while True:
        time.sleep(_IDLE_S)
