"""Chooses a batch size without loading TensorFlow: a driver does it once for all workers."""

from diagchd_batch.model.spec import ModelSpec


def choose_batch_size(spec: ModelSpec, memory_bytes: int | None = None, device: str = "cpu") -> int:
    """Images a batch: on a CPU 2 for large grids and up to 16 for small ones (more gains nothing), on a GPU up to 16;
    in either case no more than fit into half of `memory_bytes`.

    A pixel of the grid costs about 2.7 kB of activations, measured at 576 x 768.
    """
    pixels = spec.height * spec.width
    most = 16 if device == "gpu" else min(16, max(2, 600_000 // pixels))
    if memory_bytes is not None:
        most = min(most, memory_bytes // memory_for_batch(spec, 1))
    return int(max(1, most))


def memory_for_batch(spec: ModelSpec, batch_size: int) -> int:
    """Return the bytes of memory that an actor must have on a CPU: twice what a batch takes."""
    return 2 * batch_size * spec.height * spec.width * 2_700
