"""The TensorFlow runtime: configures TensorFlow and compiles a network for the CPU or for a GPU.

On a CPU the network becomes a frozen graph, so that batch normalisation folds into the convolutions. For bfloat16 the
graph is rewritten by oneDNN, which uses AMX if the processor has it. On a GPU the network is compiled by XLA, and
bfloat16 is Keras's mixed precision.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from diagchd_batch.errors import UsageError
from diagchd_batch.model.network import build_network_from_card
from diagchd_batch.model.pinned_settings import check_keras
from diagchd_batch.model.runtimes.interface import Prediction, Run
from diagchd_batch.model.runtimes.tensorflow.inference import (
    CpuBuilder,
    CpuFloat32Builder,
    FoldedBuilder,
    build_inference_network,
)
from diagchd_batch.model.runtimes.tensorflow.outputs import (
    REFERENCE_FIELDS,
    MemberHeads,
    output_fields,
    score_function,
)
from diagchd_batch.model.spec import ModelSpec, refuse_replaced_weights, seed_of, weights_path
from diagchd_batch.model.weights.checkpoints import fill_from_seed, load_checkpoint
from diagchd_batch.process.cores import processor_features


def compile_model(spec: ModelSpec, batch_size: int, intra_op_threads: int | None) -> Run:
    """Load the weights of a model and compile it for the GPU of this process, or for the CPU if there is none.

    Args:
        spec: The model.
        batch_size: The number of images in every batch.
        intra_op_threads: Threads of one operation on a CPU; None is TensorFlow's default, one thread a core.

    Returns:
        A function that scores one batch.

    Raises:
        ConfigError: The model is unknown.
        WeightsError: The checkpoint does not fit the model.
        RunFault: The checkpoint is no longer the one that `spec` was resolved from.
        UsageError: TensorFlow already runs in this process with another number of threads.
    """
    check_keras()
    _configure_tensorflow(intra_op_threads)
    kind = XlaNetwork if tf.config.list_physical_devices("GPU") else FrozenNetwork
    run: Run = kind([load_network(spec, place) for place in range(len(spec.members))], spec, batch_size)
    return run


def load_network(spec: ModelSpec, place: int = 0) -> keras.Model:
    """Return the Keras model of one member of `spec` with its weights, in float32.

    Args:
        spec: The model.
        place: Which of `spec.members`, from 0.

    Raises:
        WeightsError: The checkpoint does not fit the network.
        RunFault: The checkpoint is no longer the one that `spec` was resolved from.
    """
    network = build_network_from_card(spec.card, spec.height, spec.width)
    seed = seed_of(spec.weights)
    if seed is None:
        load_checkpoint(network, weights_path(spec, place))
        refuse_replaced_weights(spec, place)
    else:
        fill_from_seed(network, seed)
    return network


class FrozenNetwork:
    """A `Run` for the CPU: a graph whose weights are constants, in a session of its own."""

    def __init__(self, networks: Sequence[keras.Model], spec: ModelSpec, batch_size: int) -> None:
        """Compile the members' networks (from `load_network`), in the precision of `spec`."""
        builder = CpuFloat32Builder if spec.precision == "float32" else CpuBuilder
        members = [MemberHeads(build_inference_network(spec.card, each, builder), each) for each in networks]
        score = score_function(members, view_features=spec.gives_view_features)
        # Without autograph: there is no control flow to translate, and looking for it takes half a second.
        traced = tf.function(score, autograph=False)
        frozen = convert_variables_to_constants_v2(traced.get_concrete_function(*_signature(spec, batch_size)))
        # One operation at a time, on all threads: parallel convolutions only compete for the cores and their caches.
        options = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, use_per_session_threads=True)
        # One round only: in a second round TensorFlow's remapper fails on its own fusions where a tensor has two
        # readers.
        options.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
        if spec.precision == "bfloat16":
            options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
        # A session, because its options hold for this graph only; those of tf.config would hold for the whole process.
        self._session = tf.compat.v1.Session(graph=frozen.graph, config=options)
        self._images, self._reference = (tensor.name for tensor in frozen.inputs)
        self._outputs = [tensor.name for tensor in frozen.outputs]
        self._fields = output_fields(len(members), view_features=spec.gives_view_features)
        self.devices: Sequence[str] = _device_names("CPU")

    def __call__(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """See `Run.__call__`."""
        if reference_bhw_u8 is None:
            wanted = self._outputs[: -len(REFERENCE_FIELDS)]
            arrays = self._session.run(wanted, {self._images: images_bhwc_u8})
        else:
            inputs = {self._images: images_bhwc_u8, self._reference: reference_bhw_u8}
            arrays = self._session.run(self._outputs, inputs)
        return Prediction(**dict(zip(self._fields, arrays, strict=False)))  # without a reference the last are absent


class XlaNetwork:
    """A `Run` for GPUs. It also works on a CPU, but slowly."""

    def __init__(self, networks: Sequence[keras.Model], spec: ModelSpec, batch_size: int) -> None:
        """Compile the members' networks (from `load_network`), in the precision of `spec`."""
        policy = "mixed_bfloat16" if spec.precision == "bfloat16" else "float32"
        members = [
            MemberHeads(build_inference_network(spec.card, each, FoldedBuilder, policy), each) for each in networks
        ]
        score = score_function(members, view_features=spec.gives_view_features)
        images, reference = _signature(spec, batch_size)
        self._plain = tf.function(score, jit_compile=True).get_concrete_function(images)
        self._fields = output_fields(len(members), view_features=spec.gives_view_features)
        self._with_reference = tf.function(score, jit_compile=True).get_concrete_function(images, reference)
        self.devices: Sequence[str] = device_names()

    def __call__(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """See `Run.__call__`."""
        if reference_bhw_u8 is None:
            outputs = self._plain(tf.constant(images_bhwc_u8))
        else:
            outputs = self._with_reference(tf.constant(images_bhwc_u8), tf.constant(reference_bhw_u8))
        arrays = (output.numpy() for output in outputs)
        return Prediction(**dict(zip(self._fields, arrays, strict=False)))  # without a reference the last are absent


def _configure_tensorflow(intra_op_threads: int | None) -> None:
    """Configure the TensorFlow of this process before its first operation.

    Raises UsageError if TensorFlow has already started with another number of threads.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        # Otherwise TensorFlow takes the memory of the whole device at once.
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 must mean float32
    if intra_op_threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != intra_op_threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        except RuntimeError as error:
            raise UsageError(
                f"TensorFlow already runs in this process, not with {intra_op_threads} threads per operation; "
                "use another process for another number of threads"
            ) from error


def _signature(spec: ModelSpec, batch_size: int) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """Return the types of the images and of the reference label maps."""
    grid = (batch_size, spec.height, spec.width)
    return tf.TensorSpec((*grid, 3), tf.uint8), tf.TensorSpec(grid, tf.uint8)


def device_names() -> list[str]:
    """Return the names of the GPUs of this process, or the processor with its features if there is none."""
    return _device_names("GPU") or _device_names("CPU")


def _device_names(device_type: str) -> list[str]:
    return [_device_name(device) for device in tf.config.list_physical_devices(device_type)]


def _device_name(device: tf.config.PhysicalDevice) -> str:
    if device.device_type == "CPU":  # the features of a processor decide about the last digits
        return f"CPU ({', '.join(processor_features()) or 'no AVX2'})"
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", device.device_type))
