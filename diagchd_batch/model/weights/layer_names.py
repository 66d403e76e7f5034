"""Names of the network's layers, and the order in which the original creates those it leaves unnamed.

Checkpoints of the original carry automatic names (`conv2d_17`) for most layers. Their numbers start anywhere but
grow in the order of creation, so the n-th of a kind in a file is the n-th of that kind here.
"""

RESIDUAL_BLOCKS = (2, 3, 4)
"""Encoder blocks with a strided residual convolution. The original creates a fourth in block 13, which no tap uses and
which therefore is in no checkpoint."""

SKIP_STAGES = ("conv4", "conv3", "conv2", "conv1")
"""Decoder stages that take a skip connection, coarse to fine: strides 16, 8, 4, 2. The original's own names."""

STAGES = ("convm", *SKIP_STAGES, "conv0")
"""Every stage that holds two residual blocks: the bottleneck, the decoder, and its last step at full resolution."""

CLASSIFIER_PREFIX = "SegModel_Xception"
CLASSIFIER_DENSE = tuple(f"{CLASSIFIER_PREFIX}_main_{name}" for name in ("Dense", "Dense1", "Dense2", "Dense_3"))


def automatic_layers() -> dict[str, tuple[str, ...]]:
    """Our names of the layers that the original leaves unnamed: automatic base name -> names in order of creation."""
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
