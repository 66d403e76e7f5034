"""What a run tells whoever watches it. The command line draws it; tests record it; a job on a cluster logs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from diagchd_batch.scoring.liveness.shard_gate import Ending


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known when scoring begins. Counts of images are planned image files; `done_*` were committed before."""

    run_id: str
    n_images: int
    n_shards: int
    done_images: int
    done_shards: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What scoring one shard came to: the one small row that crosses Ray's object store.

    `n_images` are image files, `n_ok` and `n_failed` rows. `committed` is False where another worker's file won, or
    where the shard was not begun: `declined` says why. `attempt` is the name of the marker under `private/`.
    """

    shard: int
    n_images: int
    n_ok: int
    n_failed: int
    failures: Mapping[str, int] = field(default_factory=dict)  # error code → rows
    seconds: float = 0.0
    model_seconds: float = 0.0
    committed: bool = True
    attempt: str = ""
    declined: Ending | None = None


class RunProgress(Protocol):
    """Receives a run's events, all from the driver's thread; none may contain an identifier."""

    def listed(self, n_objects: int) -> None:
        """Planning has seen so many objects of the input so far."""
        ...

    def started(self, start: RunStart) -> None:
        """The plan is frozen and scoring begins."""
        ...

    def in_flight(self, n_images: int) -> None:
        """So many images of shards not yet committed are done, from the workers' heartbeats."""
        ...

    def workers(self, n_workers: int) -> None:
        """So many workers live now."""
        ...

    def shard_done(self, summary: ShardSummary) -> None:
        """A shard is committed."""
        ...

    def message(self, text: str) -> None:
        """Something the person at the terminal should know: waiting for a node, a worker died and was restarted."""
        ...
