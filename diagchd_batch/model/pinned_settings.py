"""Settings from outside that would change scores under one fingerprint, and how they are kept out.

Keras reads a file in the home directory and a few environment variables when it is imported. TensorFlow, XLA, oneDNN,
cuDNN, NumPy, its BLAS and libjpeg read variables of their own. Another project's settings must neither change a
probability nor stop a run. What cannot be set, such as the processor's features and the versions of packages, is
recorded with the run.
"""

import os
from collections.abc import Mapping, MutableMapping

from diagchd_batch.errors import ConfigError

PINNED = {
    "KERAS_BACKEND": "tensorflow",
    # By default TensorFlow uses oneDNN only on processors with AVX-512. Its own kernels for the others sum an image in
    # an order that depends on its place in the batch, and need twice the time (docs/benchmarks.md).
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # No directory: Keras would read keras.json in the home directory, and write it where there is none.
    "KERAS_HOME": f"{os.devnull}/keras",
}
"""The environment variables that are set before Keras is imported."""

READ_AT_START = ("GLIBC_TUNABLES", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE")
"""Variables that a process reads before they can be removed in it. They are removed for the workers that it starts."""

REMOVED_PREFIXES = (
    *("CUBLAS_", "CUDNN_", "DNNL_", "KERAS_", "NVIDIA_TF32_", "ONEDNN_", "TF_", "XLA_"),
    "JPEGMEM",  # libjpeg's limit on memory, with which sound progressive JPEGs cannot be decoded
    *READ_AT_START,
)
"""How the variables begin that are removed, so that the libraries' own defaults hold."""

KEPT = frozenset({"TF_CPP_MIN_LOG_LEVEL", "TF_CPP_VMODULE", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"})
"""Variables that begin in that way and change no number: messages, and how memory is taken."""


def pin_settings(environ: MutableMapping[str, str]) -> None:
    """Set and remove what would change scores. It must run before Keras and TensorFlow are imported.

    Args:
        environ: The environment variables of this process, which are changed.
    """
    for name in list(environ):
        if name.startswith(REMOVED_PREFIXES) and name not in KEPT:
            del environ[name]
    environ.update(PINNED)
    # TensorFlow writes many messages to stderr while it loads. Errors are raised as exceptions anyway.
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def setting_read_too_early(environ: Mapping[str, str]) -> str:
    """Return that a node's environment has a variable of `READ_AT_START`, with the remedy, or an empty string.

    Args:
        environ: The environment variables that a worker was started with.
    """
    found = [name for name in READ_AT_START if name in environ]
    if not found:
        return ""
    return f"its environment sets {', '.join(found)}, which can change scores; start Ray on it without them"


def check_keras() -> None:
    """Set what Keras lets set after its import, and refuse a Keras that somebody imported with another back end.

    Raises:
        ConfigError: Keras runs on another back end in this process.
    """
    import keras

    if keras.config.backend() != PINNED["KERAS_BACKEND"]:
        raise ConfigError(
            f"Keras was imported with the back end {keras.config.backend()} before diagchd_batch.model; import "
            "diagchd_batch.model first, or set KERAS_BACKEND=tensorflow, and start this process again"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
