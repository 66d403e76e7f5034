"""3 x 3 convolutions with a quarter of the multiplications, for a CPU in float32: Winograd's F(4 x 4, 3 x 3).

Four outputs in a row are a product of polynomials taken at six points, so that a tile of 4 x 4 outputs costs 36
multiplications for each pair of channels in place of 144 (Lavin and Gray, arXiv 1509.09308). TensorFlow's library for
CPUs computes every convolution directly; where there are many channels, products of matrices over all tiles are faster
in spite of the passes that the transforms take (docs/benchmarks.md).
"""

import numpy as np
from keras import layers, ops

from diagchd_batch.model.network import Tensor

_TILE, _TAPS = 4, 3
_POINTS = np.array([0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)])
"""And infinity. Pairs of the form ±c, ±1/c keep rounding errors small (Alam et al., arXiv 2201.10369): two to three
times those of the direct sum; the common 0, ±1, ±2 make ten times of them."""
_SPAN = _TILE + _TAPS - 1


def pays_off(channels_in: int, channels_out: int) -> bool:
    """Whether the saved multiplications outweigh the transforms, which take time in proportion to the channels' sum."""
    return channels_out >= 128 and channels_in * channels_out >= 2**16


class WinogradConvolution(layers.Layer):
    """What ``Conv2D(channels, 3, padding="same")`` computes.

    Its kernel is that of `transform_kernel`, ``[36, channels in, channels out]``, which takes four times the memory.
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__(name=name)
        self._channels = channels

    def build(self, input_shape: tuple[int, ...]) -> None:
        _, self._height, self._width, self._channels_in = input_shape
        self._row_tiles, self._column_tiles = (-(-size // _TILE) for size in (self._height, self._width))
        self.kernel = self.add_weight(shape=(_SPAN**2, self._channels_in, self._channels), name="kernel")
        self.bias = self.add_weight(shape=(self._channels,), name="bias")

    def call(self, tensor: Tensor) -> Tensor:
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
    """A convolution's kernel ``[3, 3, channels in, out]`` at the points, ``[36, channels in, out]``."""
    at_points = np.einsum("ia,jb,abco->ijco", _powers(_TAPS), _powers(_TAPS), kernel)
    return at_points.reshape(_SPAN**2, *kernel.shape[2:])


def _powers(count: int) -> np.ndarray:
    """The powers 0 to `count` - 1 of each point, ``[6, count]``; of infinity only the highest counts."""
    return np.vstack([_POINTS[:, None] ** np.arange(count), np.eye(count)[-1]])


_GATHER = _powers(_TILE).T  # products at the points -> outputs of a tile
_SCATTER = np.linalg.inv(_powers(_SPAN)).T  # inputs of a tile -> what is multiplied at the points


def _spread(size: int) -> np.ndarray:
    """`size` inputs of one axis, with zeros around them, to the points of its tiles, ``[6 * tiles, size]``."""
    tiles = -(-size // _TILE)
    padded = np.zeros((_SPAN, tiles, tiles * _TILE + _TAPS - 1), np.float32)
    for tile in range(tiles):
        padded[:, tile, tile * _TILE : tile * _TILE + _SPAN] = _SCATTER
    return padded.reshape(_SPAN * tiles, -1)[:, 1 : size + 1]
