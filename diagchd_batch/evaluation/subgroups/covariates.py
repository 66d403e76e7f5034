"""Covariates as levels: those of the covariates table, and those that every run knows of its studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from diagchd_batch.config.models import EvaluationConfig
from diagchd_batch.evaluation.cohort.annotations import Matching, match_covariates
from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.tables.display_names import MISSING, DisplayNames
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates

MAX_LEVELS = 50
"""A text column with more levels is an identifier or a note rather than a covariate."""
_MAX_NUMBERS_AS_LEVELS = 6


@dataclass(frozen=True)
class Covariate:
    """A covariate over studies.

    Attributes:
        name: The name shown in tables.
        levels: The levels shown in tables; the last one is `missing`.
        code: int64 [studies], each study's index into `levels`.
        number: float64 [studies], the values of a numeric covariate, NaN where missing; else None.
    """

    name: str
    levels: tuple[str, ...]
    code: np.ndarray
    number: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Covariate":
        """Return the covariate over the selected studies.

        Args:
            rows: bool [studies], or int64 indices.
        """
        return replace(self, code=self.code[rows], number=None if self.number is None else self.number[rows])


def all_covariates(
    database: CohortDatabase, config: EvaluationConfig, names: DisplayNames, matching: Matching
) -> tuple[list[Covariate], list[str]]:
    """Return the covariates of the job file, then those of every run.

    Args:
        database: A database with the tables `planned` and `results`.
        config: The job's evaluation settings: the covariates table and cut points.
        names: Gives the names to show.
        matching: Records the study ids of the covariates table that the inventory lacks.

    Returns:
        The covariates, and notes on columns that cannot serve as covariates.

    Raises:
        InputError: The covariates table cannot be used.
    """
    own = _own_covariates(database, config.cut_points)
    if not config.covariates:
        return own, []
    columns = match_covariates(database, read_covariates(config.covariates), matching)
    given, notes = _given_covariates(database, columns, names, config.cut_points)
    return [*given, *own], notes


def _own_covariates(database: CohortDatabase, cut_points: Mapping[str, Sequence[float]]) -> list[Covariate]:
    """Return source resolution and number of images. Every run has them, because size can stand in for the label."""
    columns = database.arrays("SELECT source_pixels, source_resolution, n_images FROM results ORDER BY study")
    pixels = columns["source_pixels"].astype(np.float64)
    texts = pd.Series(columns["source_resolution"], dtype="string")
    cuts = cut_points.get("source_resolution")
    if cuts is None and texts.nunique() <= _MAX_NUMBERS_AS_LEVELS:
        order = sorted(set(texts.dropna()), key=lambda text: [int(side) for side in text.split("×")])
        resolution = _from_texts("source_resolution", texts, order, {text: text for text in order})
    else:
        resolution = _from_numbers("source_resolution", pixels, cuts, name_whole=False)
    images = columns["n_images"].astype(np.float64)
    images[images == 0] = np.nan
    number = _from_numbers("number_of_images", images, cut_points.get("number_of_images", (2, 3, 4)), least=1)
    return [resolution, number]


def _given_covariates(
    database: CohortDatabase, own_names: Sequence[str], names: DisplayNames, cut_points: Mapping[str, Sequence[float]]
) -> tuple[list[Covariate], list[str]]:
    """Return the covariates of the table `covariates`, and notes on columns that cannot serve as covariates.

    `own_names` are the names of its columns c0, c1, … in the user's table.
    """
    found, notes = [], []
    shown = names.numbered("covariate", own_names)
    for place, own in enumerate(own_names):
        table = database.table(
            f"SELECT c{place} AS value FROM planned LEFT JOIN covariates USING (study) ORDER BY study"
        )
        values = table["value"].to_pandas()
        covariate = _covariate(shown[own], values, names, cut_points.get(own))
        if covariate is None:
            notes.append(f"covariate {shown[own]} has more than {MAX_LEVELS} levels and is left out")
        else:
            found.append(covariate)
    return found, notes


def diagnoses(database: CohortDatabase, names: DisplayNames) -> Covariate | None:
    """Return the diagnosis of each study for sensitivity by lesion, or None if no study has one.

    Args:
        database: A database with the table `labels`.
        names: Gives the names to show.
    """
    values = database.table("SELECT diagnosis FROM labels ORDER BY study")["diagnosis"].to_pandas()
    return None if values.isna().all() else _covariate("diagnosis", values, names, None)


def _covariate(
    name: str, values: pd.Series, names: DisplayNames, cut_points: Sequence[float] | None
) -> Covariate | None:
    numbers = pd.to_numeric(values.astype(object), errors="coerce").astype(np.float64)
    numeric = bool((numbers.notna() | values.isna()).all()) and bool(numbers.notna().any())
    if numeric and (cut_points is not None or numbers.nunique() > _MAX_NUMBERS_AS_LEVELS):
        return _from_numbers(name, numbers.to_numpy(), cut_points)
    texts = values.astype("string")
    levels = sorted(texts.dropna().unique(), key=lambda text: (not text.isdecimal(), text.zfill(20)))  # 2 before 10
    if len(levels) > MAX_LEVELS:
        return None
    return _from_texts(name, texts, levels, names.numbered(f"{name} level", levels))


def _from_texts(name: str, texts: pd.Series, levels: Sequence[str], shown: Mapping[str, str]) -> Covariate:
    code = pd.Categorical(texts, categories=list(levels)).codes.astype(np.int64)
    return _with_missing(name, [shown[level] for level in levels], code)


def _from_numbers(
    name: str,
    numbers: np.ndarray,
    cut_points: Sequence[float] | None,
    *,
    name_whole: bool = True,
    least: int | None = None,
) -> Covariate:
    """Divide numbers at the cut points, each of which begins a level. Without cut points, divide them into terciles.

    Args:
        name: The covariate's name in tables.
        numbers: float64 [studies], NaN where missing.
        cut_points: The limits between levels, or None.
        name_whole: Name levels of whole numbers by the numbers that they hold, such as `2` or `3 to 5`. This makes no
            sense for numbers as large as pixel counts.
        least: The smallest possible number, for the name of the first level.
    """
    known = ~np.isnan(numbers)
    if cut_points is None:
        cut_points = np.quantile(numbers[known], [1 / 3, 2 / 3]).round(6).tolist() if known.any() else []
    cuts = sorted(set(cut_points))
    code = np.where(known, np.searchsorted(cuts, numbers, side="right"), -1)
    if not cuts:
        labels = ["all"]
    elif name_whole and _are_whole(cuts) and _are_whole(numbers[known]):
        below = f"< {cuts[0]:g}" if least is None else _whole_numbers(least, cuts[0])
        labels = [below, *(_whole_numbers(low, high) for low, high in pairwise(cuts)), f"≥ {cuts[-1]:g}"]
    else:
        inner = [f"{low:g} to < {high:g}" for low, high in pairwise(cuts)]
        labels = [f"< {cuts[0]:g}", *inner, f"≥ {cuts[-1]:g}"]
    return _with_missing(name, labels, code.astype(np.int64), numbers)


def _are_whole(numbers: Sequence[float] | np.ndarray) -> bool:
    return bool(np.equal(np.mod(numbers, 1), 0).all())


def _whole_numbers(low: float, high: float) -> str:
    """Name the whole numbers from `low` to below `high`."""
    return f"{low:g}" if high - low <= 1 else f"{low:g} to {high - 1:g}"


def _with_missing(name: str, levels: Sequence[str], code: np.ndarray, number: np.ndarray | None = None) -> Covariate:
    return Covariate(name, (*levels, MISSING), np.where(code < 0, len(levels), code), number)
