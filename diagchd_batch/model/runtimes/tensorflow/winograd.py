"""Winograd's F(4 x 4, 3 x 3): 3 x 3 convolutions with a quarter of the multiplications, for a CPU in float32.

Four outputs in a row are a product of polynomials, which is computed at six points. A tile of 4 x 4 outputs then needs
36 multiplications for each pair of channels instead of 144 (Lavin and Gray, arXiv 1509.09308). TensorFlow's library
for CPUs computes every convolution directly. With many channels, matrix products over all tiles are faster, although
the transforms need additional passes over the tensors (docs/benchmarks.md).
"""

import numpy as np
from keras import layers, ops

from diagchd_batch.model.network import Tensor

_TILE, _TAPS = 4, 3
_POINTS = np.array([0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)])
"""The finite points; the sixth is infinity. Pairs of the form ±c, ±1/c keep rounding errors at two to three times those
of the direct sum (Alam et al., arXiv 2201.10369). The usual 0, ±1, ±2 give ten times the errors of the direct sum."""
_SPAN = _TILE + _TAPS - 1


def pays_off(channels_in: int, channels_out: int) -> bool:
    """Return whether the multiplications that are saved outweigh the transforms, whose time grows with the channels.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the result.
    """
    return channels_out >= 128 and channels_in * channels_out >= 2**16


class WinogradConvolution(layers.Layer):
    """The same function as ``Conv2D(channels, 3, padding="same")``.

    Its kernel is the output of `transform_kernel`, ``[36, channels in, channels out]``, which needs four times the
    memory.
    """

    def __init__(self, channels: int, name: str) -> None:
        """Make a layer with `channels` output channels."""
        super().__init__(name=name)
        self._channels = channels

    def build(self, input_shape: tuple[int, ...]) -> None:
        """See `keras.Layer.build`."""
        _, self._height, self._width, self._channels_in = input_shape
        self._row_tiles, self._column_tiles = (-(-size // _TILE) for size in (self._height, self._width))
        self.kernel = self.add_weight(shape=(_SPAN**2, self._channels_in, self._channels), name="kernel")
        self.bias = self.add_weight(shape=(self._channels,), name="bias")

    def call(self, tensor: Tensor) -> Tensor:
        """See `keras.Layer.call`."""
        rows, columns, width, channels = self._row_tiles, self._column_tiles, self._width, self._channels_in
        tensor = ops.reshape(tensor, (-1, self._height, width * channels))
        tensor = ops.reshape(ops.matmul(_spread(self._height), tensor), (-1, width, channels))
        tensor = ops.reshape(ops.matmul(_spread(width), tensor), (-1, _SPAN, rows, _SPAN, columns, channels))
        tensor = ops.reshape(ops.transpose(tensor, (1, 3, 0, 2, 4, 5)), (_SPAN**2, -1, channels))
        tensor = ops.reshape(ops.matmul(tensor, self.kernel), (_SPAN**2, -1))
        gather = np.kron(_GATHER, _GATHER).astype(np.float32)
        tensor = ops.reshape(ops.matmul(gather, tensor), (_TILE, _TILE, -1, rows, columns, self._channels))
        tensor = ops.transpose(tensor, (2, 3, 0, 4, 1, 5))
        tensor = ops.reshape(tensor, (-1, rows * _TILE, columns * _TILE, self._channels))
        return tensor[:, : self._height, :width] + self.bias


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return the values of a convolution's kernel at the points.

    Args:
        kernel: float64 ``[3, 3, channels in, channels out]``.

    Returns:
        float64 ``[36, channels in, channels out]``.
    """
    at_points: np.ndarray = np.einsum("ia,jb,abco->ijco", _powers(_TAPS), _powers(_TAPS), kernel)
    return at_points.reshape(_SPAN**2, *kernel.shape[2:])


def _powers(count: int) -> np.ndarray:
    """Return the powers 0 to `count` - 1 of each point, ``[6, count]``. Of infinity only the highest one is not 0."""
    return np.vstack([_POINTS[:, None] ** np.arange(count), np.eye(count)[-1]])


_GATHER = _powers(_TILE).T  # from products at the points to the outputs of a tile
_SCATTER = np.linalg.inv(_powers(_SPAN)).T  # from the inputs of a tile to the factors at the points


def _spread(size: int) -> np.ndarray:
    """Return the matrix from the inputs of one axis to the points of its tiles, ``[6 * tiles, size]``.

    The inputs have zeros around them, as for ``padding="same"``.
    """
    tiles = -(-size // _TILE)
    padded = np.zeros((_SPAN, tiles, tiles * _TILE + _TAPS - 1), np.float32)
    for tile in range(tiles):
        padded[:, tile, tile * _TILE : tile * _TILE + _SPAN] = _SCATTER
    return padded.reshape(_SPAN * tiles, -1)[:, 1 : size + 1]
