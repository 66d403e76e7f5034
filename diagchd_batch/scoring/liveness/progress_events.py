"""The events of a run. The command line draws them, tests record them, and a job on a cluster logs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from diagchd_batch.scoring.liveness.stop_conditions import Ending


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known when scoring begins.

    Attributes:
        run_id: The run.
        n_images: Planned image files.
        n_shards: Planned shards.
        done_images: Image files of the shards that were committed before.
        done_shards: Shards that were committed before.
        resumed: Whether the run was begun before.
        shared: Whether another submission that lives works on the run, too.
    """

    run_id: str
    n_images: int
    n_shards: int
    done_images: int
    done_shards: int
    resumed: bool
    shared: bool = False


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """The result of scoring one shard: the small row that crosses Ray's object store.

    Attributes:
        shard: The shard.
        n_images: Its image files.
        n_ok: Its rows with a result.
        n_failed: Its rows without one.
        failures: Error code → failed rows.
        seconds: From the shard's start to its commit.
        model_seconds: Of those, the seconds that the model computed.
        committed: False if another worker had committed the shard, or if it was not begun.
        attempt: The name of the attempt marker in the private tree.
        declined: Why the shard was not begun; None if it was.
    """

    shard: int
    n_images: int
    n_ok: int
    n_failed: int
    failures: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    model_seconds: float = 0.0
    committed: bool = True
    attempt: str = ""
    declined: Ending | None = None


class RunProgress(Protocol):
    """Receives a run's events, all from the driver's thread. No event may contain an identifier."""

    def listed(self, n_objects: int) -> None:
        """Planning has listed `n_objects` objects of the input so far."""
        ...

    def started(self, start: RunStart) -> None:
        """The plan is frozen and scoring begins."""
        ...

    def in_flight(self, n_images: int) -> None:
        """`n_images` images of shards that are not committed yet are done, by the workers' heartbeats."""
        ...

    def workers(self, n_workers: int) -> None:
        """`n_workers` workers live now. It comes every second while shards are scored, whether or not it changed."""
        ...

    def shard_done(self, summary: ShardSummary) -> None:
        """A shard is committed."""
        ...

    def message(self, text: str) -> None:
        """Something that the user should know, such as that a node is waited for or that a worker was replaced."""
        ...
