"""Variables of a network as arrays of NumPy, so that tests of checkpoints need not wait for TensorFlow."""

from typing import Any

import keras
import numpy as np


class Variable:
    """A variable without a value. It has what the code under test uses of a variable of Keras."""

    def __init__(self, path: str, shape: tuple[int, ...]) -> None:
        self.path, self.shape, self.values = path, shape, np.full(shape, np.nan, np.float32)

    def assign(self, values: np.ndarray) -> None:
        assert values.shape == self.shape
        self.values = values

    def numpy(self) -> np.ndarray:
        return self.values


class Variables:
    """What `load_checkpoint` needs of a network: its name, and the paths and shapes of its variables."""

    def __init__(self, network: keras.Model) -> None:
        self.name = network.name
        self.weights = [Variable(variable.path, tuple(variable.shape)) for variable in network.weights]

    def are_empty(self) -> bool:
        """Return whether no variable has got a value."""
        return all(np.isnan(variable.values).all() for variable in self.weights)


def variables(network: keras.Model) -> Any:
    """Return the variables of a network, to be passed where the code under test asks for the network."""
    return Variables(network)
