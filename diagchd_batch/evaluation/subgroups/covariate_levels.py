"""Covariates as levels: those of the covariates table, and those that every run knows of its studies."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import InputError
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.match_user_tables import Matching, match_covariates
from diagchd_batch.evaluation.subgroups.numeric_covariates import (
    NUMBER_OF_IMAGES,
    SOURCE_RESOLUTION,
    Measurement,
    measurement_of,
)
from diagchd_batch.evaluation.tables.display_names import MISSING, DisplayNames, is_public_word, natural_order
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates
from diagchd_batch.wording import counted

MAX_LEVELS = 50
"""A text column with more levels is an identifier or a note rather than a covariate."""
_MAX_NUMBERS_AS_LEVELS = 12
"""Numbers of unknown meaning are levels if at most this many differ, such as the twelve months."""
_FEW_NUMBERS = 6
"""A measurement with at most this many different numbers has one level for each number."""
_ALWAYS_FEW_LEVELS = 6
"""A column of so few levels can serve even if nearly every study has a level of its own."""


@dataclass(frozen=True)
class Covariate:
    """A covariate over studies.

    Attributes:
        name: The name shown in tables.
        levels: The levels shown in tables; the last one is `missing`.
        code: int64 [studies], each study's index into `levels`.
        number: float64 [studies], the rounded values of a measurement, NaN where missing; else None.
        unit: The unit of a measurement, else None.
    """

    name: str
    levels: tuple[str, ...]
    code: np.ndarray
    number: np.ndarray | None = None
    unit: str | None = None

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
        config: The job's evaluation settings: the covariates table, numeric covariates and cut points.
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
    _refuse_unknown_columns(columns, config)
    given, notes = _given_covariates(database, columns, names, config)
    return [*given, *own], notes


def _refuse_unknown_columns(columns: Sequence[str], config: EvaluationConfig) -> None:
    """Refuse declarations of columns that the covariates table lacks. Their names stay out of the message."""
    unknown = len(set(config.numeric_covariates) - set(columns))
    if unknown:
        raise InputError(
            f"evaluation.numeric_covariates declares {counted(unknown, 'column')} that evaluation.covariates does not "
            "have; write the names as they stand in the table (every column of gestational age becomes "
            "gestational_age_days)"
        )


def _own_covariates(database: CohortDatabase, cut_points: Mapping[str, Sequence[float]]) -> list[Covariate]:
    """Return source resolution and number of images. Every run has them, because size can stand in for the label."""
    columns = database.arrays("SELECT source_pixels, source_resolution, n_images FROM results ORDER BY study")
    pixels = columns["source_pixels"].astype(np.float64)
    texts = pd.Series(columns["source_resolution"], dtype="string")
    resolution = source_resolution_levels(pixels, texts, cut_points.get("source_resolution"))
    images = columns["n_images"].astype(np.float64)
    images[images == 0] = np.nan
    cuts = cut_points.get("number_of_images", (2, 3, 4))
    number = _from_numbers("number_of_images", images, cuts, NUMBER_OF_IMAGES, least=1)
    return [resolution, number]


def source_resolution_levels(pixels: np.ndarray, texts: pd.Series, cut_points: Sequence[float] | None) -> Covariate:
    """Return the source resolution as a covariate whose levels have names such as ``640 × 480 and smaller``.

    Args:
        pixels: float64 [studies], pixels of the largest frame of each study, NaN where none is known.
        texts: Its size as ``height×width``, missing where none is known.
        cut_points: Numbers of pixels that each begin a level. Without them, up to six sizes are a level each, and more
            sizes are divided into terciles by their pixels.
    """
    sizes = sorted(set(texts.dropna()), key=lambda text: (_area(text), [int(side) for side in text.split("×")]))
    if cut_points is None and len(sizes) <= _FEW_NUMBERS:
        return _from_texts("source_resolution", texts, sizes, {size: _width_first(size) for size in sizes})
    made = _from_numbers("source_resolution", pixels, cut_points, SOURCE_RESOLUTION, name_whole=False)
    n_levels = len(made.levels) - 1  # the last one is `missing`
    found: list[list[str]] = [[] for _ in range(n_levels)]
    level_of = dict(zip(pixels, made.code, strict=True))
    for size in sizes:
        found[level_of[_area(size)]].append(_width_first(size))
    names = [_name_of_sizes(name, place, n_levels, found[place]) for place, name in enumerate(made.levels[:-1])]
    return replace(made, levels=(*names, made.levels[-1]))


_DECIMAL_COMMA = re.compile(r"\s*[-+]?[0-9]+(,[0-9]+)?\s*")


def _area(size: str) -> int:
    height, width = size.split("×")
    return int(height) * int(width)


def _width_first(size: str) -> str:
    height, width = size.split("×")
    return f"{width} × {height}"


def _name_of_sizes(limits: str, place: int, n_levels: int, sizes: Sequence[str]) -> str:
    """Name a level by the sizes in it, in ascending order. A level without any is named by its limits."""
    if n_levels == 1:
        return limits
    if not sizes:
        return f"{limits} pixels"
    if place == 0:
        return f"{sizes[-1]} and smaller"
    if place == n_levels - 1:
        return f"{sizes[0]} and larger"
    return sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _given_covariates(
    database: CohortDatabase, own_names: Sequence[str], names: DisplayNames, config: EvaluationConfig
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
        made = _covariate(own, shown[own], table["value"].to_pandas(), names, config)
        if isinstance(made, str):
            notes.append(f"covariate {shown[own]} {made}")
        else:
            found.append(made)
    return found, notes


def diagnoses(database: CohortDatabase, names: DisplayNames) -> tuple[Covariate | None, list[str]]:
    """Return the diagnosis of each study for sensitivity by lesion, or None if no study has a usable one, and notes.

    Args:
        database: A database with the table `labels`.
        names: Gives the names to show.
    """
    values = database.table("SELECT diagnosis FROM labels ORDER BY study")["diagnosis"].to_pandas()
    if values.isna().all():
        return None, []
    made = _from_own_texts("diagnosis", values, names)
    return (None, [f"the diagnosis {made}"]) if isinstance(made, str) else (made, [])


def _covariate(
    own: str, shown: str, values: pd.Series, names: DisplayNames, config: EvaluationConfig
) -> Covariate | str:
    """Return a covariate, or why the column cannot be one."""
    numbers = pd.to_numeric(values.astype(object), errors="coerce").astype(np.float64).to_numpy()
    known, cuts = ~np.isnan(numbers), config.cut_points.get(own)
    is_numeric = bool((known | values.isna()).all()) and bool(np.isfinite(numbers[known]).all()) and bool(known.any())
    if own in config.numeric_covariates and not is_numeric and not values.isna().all():
        raise InputError(
            f"evaluation.numeric_covariates declares the covariate {shown}, but evaluation.covariates has cells in its "
            "column that are no finite numbers; correct the cells or remove the declaration"
        )
    if not is_numeric:
        return _from_own_texts(shown, values, names)
    if (measurement := measurement_of(own, numbers[known], config.numeric_covariates)) is not None:
        if cuts is None and own not in config.numeric_covariates and len(set(numbers[known])) <= _FEW_NUMBERS:
            return _from_own_texts(shown, values, names)
        return _from_numbers(shown, numbers, cuts, measurement)
    if cuts is not None:
        return _from_numbers(shown, numbers, cuts)
    if len(set(numbers[known])) > _MAX_NUMBERS_AS_LEVELS:
        return (
            "is a column of numbers that is left out, because they can identify people; if they are a measurement, "
            "give its unit and rounding in evaluation.numeric_covariates"
        )
    return _from_own_texts(shown, values, names)


def _from_own_texts(name: str, values: pd.Series, names: DisplayNames) -> Covariate | str:
    """Return a covariate of the users' own texts, or why they cannot be one."""
    texts = values.astype("string")
    texts = texts.mask(texts.str.strip().str.casefold() == MISSING)
    levels = sorted(texts.dropna().unique())
    if len(levels) > MAX_LEVELS and all(_DECIMAL_COMMA.fullmatch(level) for level in levels):
        return "has numbers with decimal commas and is left out; write decimal points"
    if len(levels) > MAX_LEVELS:
        return f"has more than {MAX_LEVELS} levels and is left out"
    own = [level for level in levels if not is_public_word(level)]
    if len(own) > max(_ALWAYS_FEW_LEVELS, texts.notna().sum() / 2):
        return "has a level of its own for nearly every study and is left out, because it can identify people"
    shown = names.numbered(f"{name} level", levels)
    # Not in the order of the users' own texts, which would tell which number stands for which.
    levels.sort(key=lambda level: natural_order(shown[level]))
    return _from_texts(name, texts, levels, shown)


def _from_texts(name: str, texts: pd.Series, levels: Sequence[str], shown: Mapping[str, str]) -> Covariate:
    code = pd.Categorical(texts, categories=list(levels)).codes.astype(np.int64)
    return _with_missing(name, [shown[level] for level in levels], code)


def _from_numbers(
    name: str,
    numbers: np.ndarray,
    cut_points: Sequence[float] | None,
    measurement: Measurement | None = None,
    *,
    name_whole: bool = True,
    least: int | None = None,
) -> Covariate:
    """Divide numbers at the cut points, each of which begins a level. Without cut points, divide them into terciles.

    Only the numbers of a measurement are kept, rounded.

    Args:
        name: The covariate's name in tables.
        numbers: float64 [studies], NaN where missing.
        cut_points: The limits between levels, or None.
        measurement: What the numbers measure, or None if that is unknown.
        name_whole: Name levels of whole numbers by the numbers that they hold, such as `2` or `3 to 5`. This makes no
            sense for numbers as large as pixel counts.
        least: The smallest possible number, for the name of the first level.
    """
    known = ~np.isnan(numbers)
    if measurement is not None:
        numbers = measurement.rounded(numbers)
    if cut_points is None:
        cut_points = np.quantile(numbers[known], [1 / 3, 2 / 3]).round(6).tolist() if known.any() else []
    cuts = sorted(set(cut_points))
    code = np.where(known, np.searchsorted(cuts, numbers, side="right"), -1)
    if not cuts:
        labels = ["all"]
    else:
        names = _level_names(cuts, least, of_whole=name_whole and _are_whole(cuts) and _are_whole(numbers[known]))
        labels = names if len(set(names)) == len(names) else _level_names(cuts, least, of_whole=False, digits=15)
    made = _with_missing(name, labels, code.astype(np.int64))
    return made if measurement is None else replace(made, number=numbers, unit=measurement.unit)


def _level_names(cuts: Sequence[float], least: int | None, *, of_whole: bool, digits: int = 6) -> list[str]:
    """Name the levels between cut points. With few digits, cut points and so levels can look alike."""
    first, last = f"{cuts[0]:.{digits}g}", f"{cuts[-1]:.{digits}g}"
    if not of_whole:
        inner = [f"{low:.{digits}g} to < {high:.{digits}g}" for low, high in pairwise(cuts)]
        return [f"< {first}", *inner, f"≥ {last}"]
    below = f"< {first}" if least is None else _whole_numbers(least, cuts[0])
    return [below, *(_whole_numbers(low, high) for low, high in pairwise(cuts)), f"≥ {last}"]


def _are_whole(numbers: Sequence[float] | np.ndarray) -> bool:
    return bool(np.equal(np.mod(numbers, 1), 0).all())


def _whole_numbers(low: float, high: float) -> str:
    """Name the whole numbers from `low` to below `high`."""
    return f"{low:g}" if high - low <= 1 else f"{low:g} to {high - 1:g}"


def _with_missing(name: str, levels: Sequence[str], code: np.ndarray) -> Covariate:
    return Covariate(name, (*levels, MISSING), np.where(code < 0, len(levels), code))
