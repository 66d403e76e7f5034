"""Names of the network's layers, and the order in which the original creates the layers that it does not name.

In checkpoints of the original most layers have automatic names (`conv2d_17`). The numbers start anywhere, but they grow
in the order of creation. The n-th layer of a kind in a file is therefore the n-th of that kind here.
"""

RESIDUAL_BLOCKS = (2, 3, 4)
"""Encoder blocks with a strided residual convolution. The original creates a fourth one in block 13. Nothing uses its
output, so it is in no checkpoint."""

SKIP_STAGES = ("conv4", "conv3", "conv2", "conv1")
"""Decoder stages with a skip connection, at strides 16, 8, 4 and 2. These are the names in the original."""

STAGES = ("convm", *SKIP_STAGES, "conv0")
"""All stages with two residual blocks: the bottleneck, the decoder, and the last stage at full resolution."""

CLASSIFIER_PREFIX = "SegModel_Xception"
CLASSIFIER_DENSE = tuple(f"{CLASSIFIER_PREFIX}_main_{name}" for name in ("Dense", "Dense1", "Dense2", "Dense_3"))


def automatic_layers() -> dict[str, tuple[str, ...]]:
    """Return this program's names of the layers that the original does not name.

    Returns:
        Automatic base name, such as ``conv2d`` -> names in the order of creation.
    """
    convolutions = [f"block{block}_residual" for block in RESIDUAL_BLOCKS]
    normalisations = [f"block{block}_residual_bn" for block in RESIDUAL_BLOCKS]
    for stage in STAGES:
        convolutions.append(f"{stage}_conv")
        for residual in (f"{stage}_r1", f"{stage}_r2"):
            convolutions += [f"{residual}_conv1", f"{residual}_conv2"]
            normalisations += [f"{residual}_{bn}" for bn in ("in_bn", "skip_bn", "conv1_bn", "conv2_bn")]
    return {
        "conv2d": (*convolutions, "head_conv"),
        "conv2d_transpose": tuple(f"{stage}_up" for stage in STAGES[1:]),
        "batch_normalization": (*normalisations, "head_conv_bn"),
    }
