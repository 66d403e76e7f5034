"""Simulated readers with known truth: a binormal model in which readers share each case's difficulty.

For study i with true label D_i and reader r in an arm a,

    rating  y = (skill_r + gain_r · [a = aided]) · D_i + S · case_i + noise_r · (sqrt(K) · w_ir + sqrt(1 − K) · e_irs)
    call      = 1 if y > threshold_r else 0
    score     = 100 · Φ((y − 1) / 1.5), rounded to one decimal

``case_i`` is shared by all readers, ``w_ir`` is what one reader always sees in one case, ``e_irs`` is new in every
reading; all are standard normal and independent (S = `CASE_SPREAD`, K = `REPEATABILITY`). It is the model of Roe and
Metz (Acad Radiol 1997;4:298-303) without its modality terms. Neither our network nor any image is involved, so every
accuracy has a closed form, which the `true_*` functions give.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

CASE_SPREAD = 0.75
REPEATABILITY = 0.5


@dataclass(frozen=True)
class Reader:
    """One reader. ``noise`` is the standard deviation of what is this reader's alone, in units of the rating."""

    name: str
    skill: float
    threshold: float
    noise: float
    gain: float = 0.0
    """What help adds to the skill in the aided arm."""

    @property
    def spread(self) -> float:
        """Standard deviation of the rating among studies with the same label."""
        return float(np.hypot(CASE_SPREAD, self.noise))

    def separation(self, aided: bool = False) -> float:
        """Distance between the mean ratings of diseased and normal studies."""
        return self.skill + (self.gain if aided else 0.0)


READERS: tuple[Reader, ...] = (
    Reader("reader-01", skill=2.9, threshold=1.35, noise=0.55, gain=0.10),
    Reader("reader-02", skill=2.5, threshold=1.05, noise=0.70, gain=0.35),
    Reader("reader-03", skill=2.2, threshold=1.30, noise=0.80, gain=0.40),
    Reader("reader-04", skill=1.8, threshold=0.55, noise=0.90, gain=0.60),
    Reader("reader-05", skill=1.4, threshold=0.90, noise=1.10, gain=0.70),
    Reader("reader-06", skill=1.6, threshold=9.00, noise=0.80),
)
"""The sample's readers: from expert to beginner; reader-06 never calls anything positive."""


def true_sensitivity(reader: Reader, aided: bool = False) -> float:
    """P(call = 1 | diseased)."""
    return float(ndtr((reader.separation(aided) - reader.threshold) / reader.spread))


def true_specificity(reader: Reader) -> float:
    """P(call = 0 | normal); the same in both arms."""
    return float(ndtr(reader.threshold / reader.spread))


def true_auc(reader: Reader, aided: bool = False) -> float:
    """P(rating of a diseased study > rating of a normal one), two independent studies."""
    return float(ndtr(reader.separation(aided) / (np.sqrt(2.0) * reader.spread)))


@dataclass(frozen=True)
class Reads:
    """Simulated reads of one session and arm. Arrays [studies] or, for ratings, [studies, readers]."""

    subject: NDArray[np.int64]
    label: NDArray[np.int8]
    case: NDArray[np.float64]
    rating: NDArray[np.float64]
    call: NDArray[np.float64]
    """0 or 1; NaN = not read."""

    @property
    def score(self) -> NDArray[np.float64]:
        """Confidence 0 to 100; NaN where there is no call."""
        return np.where(np.isnan(self.call), np.nan, scores_of(self.rating))


def truth_table() -> str:
    """The true values of `READERS` as a Markdown table."""
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
    """The score that a rating becomes: the same increasing function for every reader."""
    return np.round(100.0 * ndtr((rating - 1.0) / 1.5), 1)


def draw_readers(count: int, rng: np.random.Generator, skill_spread: float = 0.25, gain: float = 0.0) -> list[Reader]:
    """Readers from one population, for methods that generalise to readers: skill and threshold vary around 2 and 1."""
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
    """Ratings [sessions, studies, readers] of given cases; ``aided`` says for each session which arm it is."""
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
    """Which reads [studies, readers] are left out, not at random: the nearer to the threshold, the likelier.

    ``rate`` is the probability at the threshold itself.
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
    """Reads of a whole cohort without images, one `Reads` a session; all sessions read the same cases.

    The units of a subject share its label, and their difficulties correlate by ``subject_correlation``. Among all
    units the true accuracies are those of the `true_*` functions, whatever the correlation.
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
    """The same reader, to whom help brings nothing: for tests under the null hypothesis."""
    return replace(reader, gain=0.0)


if __name__ == "__main__":
    print(truth_table())
