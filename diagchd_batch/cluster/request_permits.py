"""The actor beside the driver that hands out permits of requests to a PACS, for all workers of a run."""

from contextlib import suppress
from typing import Any

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.sources.request_permits import RENEWAL_S, PermitBook


class PermitActor(PermitBook):
    """The run's `PermitBook`. If Ray starts it again, it first waits until it has heard of the permits that are out."""

    def __init__(self, max_in_flight: int, max_per_second: float) -> None:
        import ray

        lost = ray.get_runtime_context().was_current_actor_reconstructed
        super().__init__(max_in_flight, max_per_second, quiet_s=2 * RENEWAL_S if lost else 0.0)


def start_permits(config: DicomwebConfig) -> Any:
    """Start the actor on this node and return its handle. It ends when nobody has the handle any more.

    Args:
        config: The limits.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
    return (
        ray.remote(PermitActor).options(**options).remote(config.max_requests_in_flight, config.max_requests_per_second)
    )


class RemotePermits:
    """The `Permits` of a worker.

    Args:
        actor: The handle that `start_permits` returned.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def take(self, holder: str, n_held: int) -> float:
        """See `Permits.take`.

        Raises:
            RunFault: The actor is gone for good, with the driver's node.
        """
        import ray
        from ray.exceptions import RayError

        try:
            return ray.get(self._actor.take.remote(holder, n_held))
        except RayError as error:
            raise RunFault(
                f"the actor that limits the requests to the PACS is gone ({type(error).__name__}); give the same "
                "command again"
            ) from None

    def renew(self, holder: str, n_held: int) -> None:
        """See `Permits.renew`. It does not wait, and a lost message is made good by the next one."""
        with suppress(Exception):
            self._actor.renew.remote(holder, n_held)
