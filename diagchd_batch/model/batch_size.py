"""Chooses a batch size without importing TensorFlow, because the driver does it once for all workers."""

from diagchd_batch.model.spec import ModelSpec

_BYTES_PER_PIXEL = 2_700
"""Activations for each pixel of the grid, measured at 576 x 768."""


def choose_batch_size(spec: ModelSpec, memory_bytes: int | None = None, device: str = "cpu") -> int:
    """Return the number of images in a batch, at least 1.

    On a CPU it is 2 for large grids and up to 16 for small ones, because larger batches are not faster. On a GPU it is
    up to 16.

    Args:
        spec: The model; its grid and its number of members decide.
        memory_bytes: The memory of a worker, of which a batch may take half; None if it is not known.
        device: ``cpu`` or ``gpu``.
    """
    pixels = spec.height * spec.width
    most = 16 if device == "gpu" else min(16, max(2, 600_000 // pixels))
    if memory_bytes is not None:
        most = min(most, memory_bytes // memory_for_batch(spec, 1))
    return int(max(1, most))


def memory_for_batch(spec: ModelSpec, batch_size: int) -> int:
    """Return the bytes of memory that an actor must have on a CPU: twice what a batch of this size takes.

    Each member of an ensemble is counted, because TensorFlow may compute parts of several members before it frees the
    activations of the first.

    Args:
        spec: The model, whose grid and number of members count.
        batch_size: Images in a batch.
    """
    return 2 * batch_size * spec.height * spec.width * _BYTES_PER_PIXEL * len(spec.members)
