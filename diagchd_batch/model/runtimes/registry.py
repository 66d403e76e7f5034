"""The registry of runtimes, and the one function that compiles a model for one of them.

A runtime is a module with a function ``compile_model(spec, batch_size, intra_op_threads) -> Run``. It is imported when
it is first used, so that a machine needs the packages of its own runtime only.
"""

from importlib import import_module

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.runtimes.interface import Run
from diagchd_batch.model.spec import ModelSpec

RUNTIMES = {"tensorflow": "diagchd_batch.model.runtimes.tensorflow.compiled"}
"""Name of a runtime -> the module that implements it."""


def compile(spec: ModelSpec, batch_size: int, intra_op_threads: int | None = None) -> Run:
    """Load the weights of a model and compile it for one batch size.

    Args:
        spec: The model. `spec.runtime` names the runtime.
        batch_size: The number of images in every batch.
        intra_op_threads: Threads of one operation on a CPU; None is the runtime's default, one thread a core.

    Returns:
        A function that scores one batch.

    Raises:
        ConfigError: The runtime or the model is unknown.
        WeightsError: The checkpoint does not fit the model.
        RunFault: The checkpoint is no longer the one that `spec` was resolved from.
        UsageError: The runtime already runs in this process with another number of threads.
    """
    if spec.runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {spec.runtime!r}; choose one of {', '.join(RUNTIMES)}")
    run: Run = import_module(RUNTIMES[spec.runtime]).compile_model(spec, batch_size, intra_op_threads)
    return run
