"""What nodes offer, and the protocol of a cluster that actors run on."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NodeResources:
    """The resources of one node that Ray may give to actors.

    Attributes:
        cpus: Processor cores.
        gpus: GPUs.
        memory_bytes: Main memory.
    """

    cpus: int
    gpus: int
    memory_bytes: int


class Cluster(Protocol):
    """Where actors run: a Ray of its own on this machine, or a Ray cluster that this process joins.

    Attributes:
        elastic: Whether further nodes may join, so that `cluster.actors.max` may exceed what fits now.
    """

    elastic: bool

    def nodes(self) -> list[NodeResources]:
        """Return the nodes that are there now and that actors may run on, at least one."""
        ...

    def connected(self) -> AbstractContextManager[None]:
        """Return a block within which this process is connected to Ray. Leaving it ends the actors."""
        ...

    def check(self) -> None:
        """Raise RunFault if Ray itself is gone. Called about once a second while connected."""
        ...
