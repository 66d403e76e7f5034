"""The view check: whether a picture looks like those that a model was trained on, so that a call on it means something.

A network calls every picture, a blank one too. The check compares what the network sees in a picture with what it saw
in four-chamber views. For each member of a model it knows mean and covariance of a vector: the pooled features that
the classifier gets, and a few numbers about the predicted mask. The distance of a picture is the root of its mean
squared Mahalanobis distance to the members' distributions. The file holds means and covariances and a threshold, and
nothing of a single picture.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy import ndimage

from diagchd_batch.errors import ConfigError, InputError

FILE = "view_check.json"
"""The name of the file in a model package."""

EVALUABLE_FROM = 0.5
"""The `view_score` from which a picture counts as a view that can be judged. It is that of the threshold's distance."""

MIN_PICTURES = 50
"""The smallest number of pictures that a member's distribution may be fitted to: fewer would show through."""

_VECTOR = "pooled-shape/1"
_SHAPES = 6
_MAX_CHANNELS = 4_096
_SEPTUM = 1
_DIAGONALS_CONNECT = np.ones((3, 3), bool)
_SHRINKAGE = 0.05
_MIN_VARIANCE = 1e-8

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class MemberDistribution(BaseModel):
    """Mean and covariance of one member's vectors over four-chamber views."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: list[_Finite] = Field(min_length=_SHAPES + 1, max_length=_MAX_CHANNELS + _SHAPES)
    covariance: list[_Finite] = Field(description="the lower triangle of the covariance matrix, row by row")

    @model_validator(mode="after")
    def _is_a_covariance(self) -> "MemberDistribution":
        n = len(self.mean)
        if len(self.covariance) != n * (n + 1) // 2:
            raise ValueError(f"{len(self.covariance)} numbers are no lower triangle of {n} rows")
        try:
            np.linalg.cholesky(self.matrix)
        except np.linalg.LinAlgError:
            raise ValueError("the covariance is not positive definite") from None
        return self

    @property
    def matrix(self) -> np.ndarray:
        """The covariance, float64 ``[n, n]``."""
        n = len(self.mean)
        matrix = np.zeros((n, n))
        matrix[np.tril_indices(n)] = self.covariance
        return matrix + np.tril(matrix, -1).T


class ViewCheckFile(BaseModel):
    """The contents of a `view_check.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vector: str = Field(description="how a vector is made of a picture", pattern=r"^pooled-shape/1$")
    threshold: float = Field(gt=0, allow_inf_nan=False, description="the distance from which a picture is no view")
    max_lost_fraction: float = Field(gt=0, lt=1, description="the share of true views that may lie beyond it")
    members: list[MemberDistribution] = Field(min_length=1, max_length=1_000)


@dataclass(frozen=True)
class ViewCheck:
    """A view check that is ready to use.

    Attributes:
        file: What it was read from, or is written to.
        weights: One array ``[n, n]`` a member. A centred vector times it is uncorrelated, with variance 1.
    """

    file: ViewCheckFile
    weights: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, file: ViewCheckFile) -> "ViewCheck":
        """Return the check that a file describes."""
        weights = tuple(np.linalg.inv(np.linalg.cholesky(member.matrix)).T for member in file.members)
        return cls(file, weights)

    def of_members(self, members: Sequence[int]) -> "ViewCheck":
        """Return the check for some of the members.

        Args:
            members: Their places in the package, from 0.

        Raises:
            ConfigError: The check lacks one of them.
        """
        if max(members) >= len(self.weights):
            raise ConfigError(
                f"{FILE} is for {len(self.weights)} members, and the package has more; restore the one that belongs to "
                "it, or remove it to score without a view check"
            )
        chosen = self.file.model_copy(update={"members": [self.file.members[member] for member in members]})
        return ViewCheck(chosen, tuple(self.weights[member] for member in members))

    def distance(self, vectors_bmn: np.ndarray) -> np.ndarray:
        """Return how far pictures are from the four-chamber views.

        Args:
            vectors_bmn: float64 ``[batch, members, n]``, from `view_vectors`.

        Returns:
            float64 ``[batch]``: about 1 for a typical view. Not a number in a vector makes it infinite.

        Raises:
            ConfigError: The vectors do not fit the check, so it belongs to another model.
        """
        expected = (len(self.weights), len(self.file.members[0].mean))
        if vectors_bmn.shape[1:] != expected:
            raise ConfigError(
                f"{FILE} is for {expected[0]} members with {expected[1]} numbers each, and the model gives "
                f"{vectors_bmn.shape[1]} with {vectors_bmn.shape[2]}; it belongs to another package, so restore it"
            )
        squares = np.zeros(len(vectors_bmn))
        for place, (member, weights) in enumerate(zip(self.file.members, self.weights, strict=True)):
            centred = vectors_bmn[:, place] - np.array(member.mean)
            # Not a matrix product of BLAS, whose last bits depend on the number of its threads.
            squares += np.mean(np.einsum("bn,nk->bk", centred, weights, optimize=False) ** 2, axis=1)
        distance = np.sqrt(squares / len(self.weights))
        return np.where(np.isfinite(distance), distance, np.inf)

    def score(self, vectors_bmn: np.ndarray) -> np.ndarray:
        """Return the `view_score` of pictures.

        Args:
            vectors_bmn: float64 ``[batch, members, n]``, from `view_vectors`.

        Returns:
            float32 ``[batch]`` in [0, 1]: threshold / (threshold + distance). From `EVALUABLE_FROM` on a picture can be
            judged.
        """
        threshold = self.file.threshold
        return np.asarray(threshold / (threshold + self.distance(vectors_bmn)), np.float32)

    def to_json(self) -> bytes:
        """Return the bytes of the package's file."""
        return json.dumps(self.file.model_dump(mode="json"), separators=(",", ":")).encode() + b"\n"


def parse_view_check(data: bytes, location: str) -> ViewCheck:
    """Return the check in the bytes of a `view_check.json`.

    Args:
        data: The file's bytes.
        location: What error messages call the package.

    Raises:
        ConfigError: The bytes are no valid view check.
    """
    try:
        return ViewCheck.of(ViewCheckFile.model_validate_json(data))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(
            f"{FILE} of model {location} is damaged: {where or 'the file'}: {problem['msg']}; restore it, or remove it "
            "to score without a view check"
        ) from error


def view_vectors(pooled_bmd: np.ndarray, label_maps_bhw_u8: np.ndarray, entropy_b: np.ndarray) -> np.ndarray:
    """Return the vectors that the view check compares.

    Args:
        pooled_bmd: ``[batch, members, channels]``: `Prediction.pooled_features_bmd_f32`.
        label_maps_bhw_u8: uint8 ``[batch, height, width]``, the predicted masks.
        entropy_b: ``[batch]``, in nats: `Prediction.entropy_b_f32`.

    Returns:
        float64 ``[batch, members, channels + 6]``: the pooled features, and of the mask: the logarithms of the shares
        of septum and heart, the share outside the largest piece, how much an ellipse of its moments is filled, the
        ratio of its axes, and the logarithm of the entropy.
    """
    shapes = np.array([_shape(label_map) for label_map in label_maps_bhw_u8]).reshape(
        len(label_maps_bhw_u8), _SHAPES - 1
    )
    numbers = np.column_stack([shapes, np.log(np.asarray(entropy_b, np.float64) + 1e-4)])
    repeated = np.repeat(numbers[:, None], pooled_bmd.shape[1], axis=1)
    return np.concatenate([np.asarray(pooled_bmd, np.float64), repeated], axis=2)


def fit_view_check(
    vectors_by_member: list[np.ndarray], subjects_by_member: list[np.ndarray], max_lost_fraction: float
) -> ViewCheck:
    """Fit a view check on four-chamber views that the members were not trained on.

    The threshold is chosen on views that a distribution was not fitted to: the subjects of each member are halved, each
    half is measured with the distribution of the other, and the threshold is the distance beyond which
    `max_lost_fraction` of them lie. Then the distributions are fitted to all.

    For an ensemble the threshold is approximate: it is chosen on the distances to single members, and the check uses
    their mean.

    Args:
        vectors_by_member: float64 ``[pictures, n]`` for each member, from `view_vectors` with that member alone.
        subjects_by_member: ``[pictures]`` for each member: numbers or tokens of the subjects.
        max_lost_fraction: The share of true views that may be lost, in (0, 1).

    Returns:
        The check, which holds nothing of single pictures.

    Raises:
        InputError: There are too few pictures or subjects.
    """
    distances = []
    for vectors, subjects in zip(vectors_by_member, subjects_by_member, strict=True):
        _, number = np.unique(subjects, return_inverse=True)
        halves = number % 2 == 0, number % 2 == 1
        for fitted, measured in (halves, halves[::-1]):
            _refuse_few(int(fitted.sum()), 1)
            check = _check([_fit(vectors[fitted])], 1.0, max_lost_fraction)
            distances.append(check.distance(vectors[measured, None]))
        _refuse_few(len(vectors), 2)
    threshold = float(np.quantile(np.concatenate(distances), 1 - max_lost_fraction))
    return _check([_fit(vectors) for vectors in vectors_by_member], _rounded(threshold), max_lost_fraction)


def _refuse_few(n: int, factor: int) -> None:
    if n < factor * MIN_PICTURES:
        raise InputError(
            f"a view check needs {2 * MIN_PICTURES} pictures of each fold, halved by subject; there are {n} in a "
            f"{'half' if factor == 1 else 'fold'}. Train on more studies, or leave the view check out"
        )


def _check(members: list[MemberDistribution], threshold: float, max_lost_fraction: float) -> ViewCheck:
    file = ViewCheckFile(vector=_VECTOR, threshold=threshold, max_lost_fraction=max_lost_fraction, members=members)
    return ViewCheck.of(file)


def _fit(vectors: np.ndarray) -> MemberDistribution:
    """Fit mean and covariance, shrunk towards its diagonal so that it is well conditioned with few pictures."""
    covariance = np.cov(vectors, rowvar=False)
    variance = np.maximum(np.diag(covariance), _MIN_VARIANCE)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(variance)
    np.fill_diagonal(shrunk, np.maximum(np.diag(shrunk), _MIN_VARIANCE))
    triangle = shrunk[np.tril_indices(len(shrunk))]
    return MemberDistribution(
        mean=[_rounded(value) for value in vectors.mean(axis=0)], covariance=[_rounded(value) for value in triangle]
    )


def _rounded(value: Any) -> float:
    return float(f"{value:.7g}")


def _shape(label_map_hw_u8: np.ndarray) -> tuple[float, ...]:
    """Describe one predicted mask by five numbers, which are those of nothing if it is empty."""
    heart = label_map_hw_u8 > 0
    n, grid = int(np.count_nonzero(heart)), label_map_hw_u8.size
    septum = int(np.count_nonzero(label_map_hw_u8 == _SEPTUM))
    sizes = math.log(septum / grid + 1e-4), math.log((n - septum) / grid + 1e-3)
    if n < 3:
        return (*sizes, 0.0, 0.0, 0.0)
    pieces, n_pieces = ndimage.label(heart, _DIAGONALS_CONNECT)
    largest = np.bincount(pieces.ravel())[1:].max() if n_pieces else n
    rows, columns = np.nonzero(heart)
    moments = np.cov(np.stack([rows, columns]).astype(np.float64)) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(moments)
    filled = n / (4 * math.pi * math.sqrt(small * large))
    return (*sizes, 1 - largest / n, filled, math.sqrt(small / large))
