"""TensorFlow for the predictor: starting it, and compiling a network for the CPU or a GPU.

CPU: a frozen graph, so that batch normalisation folds into the convolutions, and for bfloat16 oneDNN's rewrite (which
uses AMX where the processor has it). GPU: XLA, and Keras's mixed precision for bfloat16.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from diagchd_batch.errors import UsageError
from diagchd_batch.model.losses import segmentation_loss, soft_dice
from diagchd_batch.model.network import CLASSES, build_network
from diagchd_batch.model.runtimes.tensorflow.inference import (
    CpuBuilder,
    CpuFloat32Builder,
    FoldedBuilder,
    build_inference_network,
    classifier_matrix,
)
from diagchd_batch.model.spec import ModelSpec, refuse_replaced_weights, seed_of, weights_path
from diagchd_batch.model.weights.checkpoints import fill_from_seed, load_checkpoint

Outputs = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]
Run = Callable[[np.ndarray, np.ndarray | None], Outputs]


def start_tensorflow(intra_op_threads: int | None) -> list[str]:
    """Configure this process's TensorFlow before its first operation. Returns the names of the devices that compute.

    Raises UsageError if it has already started with another number of threads.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # else it takes the whole device at once
    tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 means float32
    if intra_op_threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != intra_op_threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        except RuntimeError as error:
            raise UsageError(
                f"TensorFlow already runs in this process, not with {intra_op_threads} threads per operation; "
                "use a process of its own for another number"
            ) from error
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    return [_device_name(device) for device in devices]


def compile_network(spec: ModelSpec, batch_size: int) -> Run:
    """Build, load and compile. The function returned takes uint8 images and, or None, uint8 label maps."""
    network = load_network(spec)
    if tf.config.list_physical_devices("GPU"):
        return compile_with_xla(network, spec, batch_size)
    return compile_frozen(network, spec, batch_size)


def load_network(spec: ModelSpec) -> keras.Model:
    """The Keras model of `spec` with its weights, in float32. Raises WeightsError, RunFault for replaced weights."""
    network = build_network(spec.name, spec.height, spec.width)
    seed = seed_of(spec.weights)
    if seed is None:
        load_checkpoint(network, weights_path(spec))
        refuse_replaced_weights(spec)
    else:
        fill_from_seed(network, seed)
    return network


def compile_frozen(network: keras.Model, spec: ModelSpec, batch_size: int) -> Run:
    """For the CPU."""
    form = CpuFloat32Builder if spec.precision == "float32" else CpuBuilder
    score = _scorer(build_inference_network(spec.name, network, form), network)
    traced = tf.function(score, autograph=False)  # there is no control flow to translate, which takes half a second
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function(*_signature(spec, batch_size)))
    # One operation at a time, on all threads: convolutions side by side only fight for the cores and their caches.
    options = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=1, use_per_session_threads=True)
    # Once: on its second round TensorFlow's remapper trips over its own fusions where a tensor has two readers.
    options.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
    if spec.precision == "bfloat16":
        options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    # A session, because its options hold for this graph alone; tf.config's would hold for the whole process.
    session = tf.compat.v1.Session(graph=frozen.graph, config=options)
    images_name, reference_name = (tensor.name for tensor in frozen.inputs)
    names = [tensor.name for tensor in frozen.outputs]

    def run(images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None) -> Outputs:
        if reference_bhw_u8 is None:
            return (*session.run(names[:2], {images_name: images_bhwc_u8}), None, None)
        return tuple(session.run(names, {images_name: images_bhwc_u8, reference_name: reference_bhw_u8}))

    return run


def compile_with_xla(network: keras.Model, spec: ModelSpec, batch_size: int) -> Run:
    """For GPUs; works on a CPU too, but slowly."""
    dtype_policy = "mixed_bfloat16" if spec.precision == "bfloat16" else "float32"
    score = _scorer(build_inference_network(spec.name, network, FoldedBuilder, dtype_policy), network)
    images, reference = _signature(spec, batch_size)
    plain = tf.function(score, jit_compile=True).get_concrete_function(images)
    referenced = tf.function(score, jit_compile=True).get_concrete_function(images, reference)

    def run(images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None) -> Outputs:
        if reference_bhw_u8 is None:
            return (*(output.numpy() for output in plain(tf.constant(images_bhwc_u8))), None, None)
        outputs = referenced(tf.constant(images_bhwc_u8), tf.constant(reference_bhw_u8))
        return tuple(output.numpy() for output in outputs)

    return run


def _signature(spec: ModelSpec, batch_size: int) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    grid = (batch_size, spec.height, spec.width)
    return tf.TensorSpec((*grid, 3), tf.uint8), tf.TensorSpec(grid, tf.uint8)


def _scorer(folded: keras.Model, network: keras.Model) -> Callable[..., tuple[tf.Tensor, ...]]:
    """What is compiled: from uint8 images label maps and CHD probabilities, with a reference also loss and soft Dice.

    What follows the convolutions is small and decides calls and losses, so it is done in float64: no bfloat16 rewrite
    touches that, and the order of a sum does not show in the float32 results.
    """
    matrix, bias = classifier_matrix(network)

    def score(images: tf.Tensor, reference: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        logits, features = folded(tf.cast(images, tf.float32) / 255, training=False)
        label_maps = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
        pooled = tf.reduce_mean(tf.cast(features, tf.float64), axis=(1, 2))
        probability = tf.cast(tf.nn.softmax(tf.matmul(pooled, matrix) + bias)[:, 1], tf.float32)
        if reference is None:
            return label_maps, probability
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float64))
        targets = tf.one_hot(tf.cast(reference, tf.int32), CLASSES, dtype=tf.float64)
        loss, dice = segmentation_loss(targets, probabilities), soft_dice(targets, probabilities)
        return label_maps, probability, tf.cast(loss, tf.float32), tf.cast(dice, tf.float32)

    return score


def _device_name(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device) if device.device_type == "GPU" else {}
    return details.get("device_name", device.device_type)
