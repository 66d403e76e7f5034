"""Simulates readers of known accuracy by a binormal model in which readers share each case's difficulty.

For study i with true label D_i and reader r in an arm a,

    rating  y = (skill_r + gain_r · [a = aided]) · D_i + S · case_i + noise_r · (sqrt(K) · w_ir + sqrt(1 − K) · e_irs)
    call      = 1 if y > threshold_r else 0
    score     = 100 · Φ((y − 1) / 1.5), rounded to one decimal

``case_i`` is shared by all readers, ``w_ir`` is what one reader always sees in one case, and ``e_irs`` is new in every
reading. All three are standard normal and independent. S is `CASE_SPREAD`, and K is `REPEATABILITY`. This is the model
of Roe and Metz (Acad Radiol 1997;4:298-303) without its modality terms. It involves neither the network nor any image,
so every accuracy has a closed form, which the `true_*` functions return.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

CASE_SPREAD = 0.75
REPEATABILITY = 0.5


@dataclass(frozen=True)
class Reader:
    """One reader. ``noise`` is the standard deviation of the reader's own part of a rating, in units of the rating."""

    name: str
    skill: float
    threshold: float
    noise: float
    gain: float = 0.0
    """What aid adds to the skill in the aided arm."""

    @property
    def spread(self) -> float:
        """Standard deviation of the ratings of studies with the same label."""
        return float(np.hypot(CASE_SPREAD, self.noise))

    def separation(self, aided: bool = False) -> float:
        """Return the distance between the mean ratings of diseased and normal studies."""
        return self.skill + (self.gain if aided else 0.0)


READERS: tuple[Reader, ...] = (
    Reader("reader-01", skill=2.9, threshold=1.35, noise=0.55, gain=0.10),
    Reader("reader-02", skill=2.5, threshold=1.05, noise=0.70, gain=0.35),
    Reader("reader-03", skill=2.2, threshold=1.30, noise=0.80, gain=0.40),
    Reader("reader-04", skill=1.8, threshold=0.55, noise=0.90, gain=0.60),
    Reader("reader-05", skill=1.4, threshold=0.90, noise=1.10, gain=0.70),
    Reader("reader-06", skill=1.6, threshold=9.00, noise=0.80),
)
"""The readers of the sample, from expert to beginner. reader-06 never calls anything positive."""


def true_sensitivity(reader: Reader, aided: bool = False) -> float:
    """Return P(call = 1 | diseased)."""
    return float(ndtr((reader.separation(aided) - reader.threshold) / reader.spread))


def true_specificity(reader: Reader) -> float:
    """Return P(call = 0 | normal), which is the same in both arms."""
    return float(ndtr(reader.threshold / reader.spread))


def true_auc(reader: Reader, aided: bool = False) -> float:
    """Return P(rating of a diseased study > rating of an independent normal study)."""
    return float(ndtr(reader.separation(aided) / (np.sqrt(2.0) * reader.spread)))


@dataclass(frozen=True)
class Reads:
    """Simulated reads of one session and arm. Ratings and calls are arrays [studies, readers], the others [studies]."""

    subject: NDArray[np.int64]
    label: NDArray[np.int8]
    case: NDArray[np.float64]
    rating: NDArray[np.float64]
    call: NDArray[np.float64]
    """0 or 1, or NaN if the reader did not read the study."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Confidence from 0 to 100, or NaN if there is no call."""
        return np.where(np.isnan(self.call), np.nan, scores_of(self.rating))


def truth_table() -> str:
    """Return the true values of `READERS` as a Markdown table."""
    titles = ["reader", "skill", "threshold", "noise", "gain", "sensitivity", "specificity", "AUC"]
    titles += ["aided sensitivity", "aided AUC"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for reader in READERS:
        parameters = (reader.skill, reader.threshold, reader.noise, reader.gain)
        unaided = (true_sensitivity(reader), true_specificity(reader), true_auc(reader))
        aided = (true_sensitivity(reader, True), true_auc(reader, True))
        cells = [f"{value:.2f}" for value in parameters] + [f"{value:.4f}" for value in (*unaided, *aided)]
        lines.append(f"| {reader.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scores_of(rating: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of ratings, by the same increasing function for every reader."""
    return np.round(100.0 * ndtr((rating - 1.0) / 1.5), 1)


def draw_readers(count: int, rng: np.random.Generator, skill_spread: float = 0.25, gain: float = 0.0) -> list[Reader]:
    """Draw readers from one population, for methods that generalise to readers.

    Skill varies around 2 and the threshold around 1.
    """
    skill = rng.normal(2.0, skill_spread, count)
    threshold = rng.normal(1.0, 0.25, count)
    return [
        Reader(f"reader-{k + 1:02d}", float(skill[k]), float(threshold[k]), noise=0.8, gain=gain) for k in range(count)
    ]


def draw_ratings(
    readers: list[Reader] | tuple[Reader, ...],
    label: NDArray[np.int8],
    case: NDArray[np.float64],
    rng: np.random.Generator,
    sessions: int = 1,
    aided: tuple[bool, ...] | None = None,
) -> NDArray[np.float64]:
    """Draw ratings of given cases.

    Args:
        readers: The readers.
        label: True labels, [studies].
        case: Difficulty of the cases, standard normal, [studies].
        rng: The random stream.
        sessions: Number of unaided sessions, if `aided` is not given.
        aided: For each session, whether it belongs to the aided arm.

    Returns:
        Ratings, float64 [sessions, studies, readers].
    """
    arms = aided or (False,) * sessions
    separation = np.array([[reader.separation(arm) for reader in readers] for arm in arms])
    noise = np.array([reader.noise for reader in readers])
    size = (len(label), len(readers))
    lasting = rng.standard_normal(size)
    fresh = rng.standard_normal((len(arms), *size))
    own = noise * (np.sqrt(REPEATABILITY) * lasting + np.sqrt(1.0 - REPEATABILITY) * fresh)
    return separation[:, None, :] * label[:, None] + CASE_SPREAD * case[:, None] + own


def missing_reads(
    readers: list[Reader] | tuple[Reader, ...], rating: NDArray[np.float64], rate: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which reads are missing, bool of the shape of `rating`.

    Reads are not missing at random: the nearer a rating is to the threshold, the likelier it is missing. ``rate`` is
    the probability at the threshold itself.
    """
    distance = rating - np.array([reader.threshold for reader in readers])
    return rng.uniform(size=rating.shape) < rate * np.exp(-0.5 * distance * distance)


def simulate_reads(
    n_subjects: int,
    units_per_subject: int,
    readers: list[Reader] | tuple[Reader, ...],
    rng: np.random.Generator,
    *,
    prevalence: float = 1.0 / 3.0,
    subject_correlation: float = 0.5,
    missing_rate: float = 0.0,
    sessions: int = 1,
    aided: tuple[bool, ...] | None = None,
) -> list[Reads]:
    """Simulate the reads of a whole cohort without images.

    The units of a subject share its label, and their difficulties have the correlation ``subject_correlation``. For
    every correlation, the true accuracies over all units are those of the `true_*` functions.

    Args:
        n_subjects: Number of subjects.
        units_per_subject: Number of units of each subject.
        readers: The readers.
        rng: The random stream.
        prevalence: Share of diseased subjects.
        subject_correlation: Correlation of the difficulties of a subject's units, 0 to 1.
        missing_rate: Probability that a read with a rating at the threshold is missing.
        sessions: Number of unaided sessions, if `aided` is not given.
        aided: For each session, whether it belongs to the aided arm.

    Returns:
        The reads of each session. All sessions read the same cases.
    """
    subject = np.repeat(np.arange(n_subjects), units_per_subject)
    label = (rng.uniform(size=n_subjects) < prevalence).astype(np.int8)[subject]
    shared = rng.standard_normal(n_subjects)[subject]
    case = np.sqrt(subject_correlation) * shared + np.sqrt(1.0 - subject_correlation) * rng.standard_normal(
        len(subject)
    )
    threshold = np.array([reader.threshold for reader in readers])
    reads = []
    for rating in draw_ratings(readers, label, case, rng, sessions, aided):
        call = (rating > threshold).astype(np.float64)
        if missing_rate > 0:
            call[missing_reads(readers, rating, missing_rate, rng)] = np.nan
        reads.append(Reads(subject, label, case, rating, call))
    return reads


def without_gain(reader: Reader) -> Reader:
    """Return the same reader without any gain from aid, for tests under the null hypothesis."""
    return replace(reader, gain=0.0)


if __name__ == "__main__":
    print(truth_table())
