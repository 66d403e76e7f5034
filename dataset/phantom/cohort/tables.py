"""Writes the tables of a cohort: manifest, reference standard, reads and covariates."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta

from dataset.phantom.cohort.readers import READERS, draw_ratings, missing_reads, scores_of
from dataset.phantom.cohort.seeds import Stream, generator
from dataset.phantom.cohort.special_cases import SpecialCases
from dataset.phantom.cohort.studies import Study
from dataset.phantom.rendering.anatomy import DROPOUT_BETA
from dataset.phantom.rendering.lesions import LEAST_SEVERITY, SEVERITY_BETA

MISSING_RATE = 0.20
"""Probability that a read with a rating at the reader's threshold is missing."""
INDETERMINATE_READER = "reader-05"
"""The reader who finds the study with the unreadable image indeterminate."""

# Sessions of the reading study: number, arm, and the readers who took part.
SESSIONS: tuple[tuple[int, str, frozenset[str]], ...] = (
    (1, "unaided", frozenset(reader.name for reader in READERS)),
    (2, "unaided", frozenset({"reader-01", "reader-03"})),
    (3, "aided", frozenset({"reader-02", "reader-03", "reader-04", "reader-05"})),
)

Row = dict[str, str | int | float]


def image_name(study: Study, image: int) -> str:
    """Return the name of an image file without its suffix."""
    return f"{study.study_id}-{image + 1}"


def damaged_file(study: Study) -> str:
    """Return the path of a study's damaged file, relative to the cohort's directory."""
    return f"damaged/{image_name(study, study.images)}.{study.device.suffix}"


def case_difficulty(study: Study) -> float:
    """Return the readers' ``case_i``: how far a study lies towards disease among studies with its label.

    This is a normal score of the rank of a lesion's severity or, for a normal heart, of the echo drop-out that mimics a
    defect. Given the label, it is exactly standard normal, so the readers' true values hold.
    """
    if study.disease.label:
        severity = (study.disease.severity - LEAST_SEVERITY) / (1.0 - LEAST_SEVERITY)
        rank = beta.cdf(severity, *SEVERITY_BETA)
    else:
        rank = beta.cdf(study.heart.dropout_depth, *DROPOUT_BETA)
    return float(ndtri(np.clip(rank, 1e-6, 1.0 - 1e-6)))


def manifest_rows(study: Study, special: SpecialCases) -> Iterator[Row]:
    """Yield one row per image file, with URIs relative to the cohort's directory."""
    reason = special.excluded.get(study.index, "")
    files = []
    for image in range(study.images):
        usable = (study.index, image) not in (special.unreadable, special.wrong_view)
        mask = f"masks/{image_name(study, image)}.png" if usable else ""
        files.append((f"images/{image_name(study, image)}.{study.device.suffix}", mask))
    if special.damaged == study.index:
        files.append((damaged_file(study), ""))
    for uri, mask in files:
        yield {
            "study_id": study.study_id,
            "uri": uri,
            "subject_id": study.subject_id,
            "fetus": study.fetus,
            "mask_uri": mask,
            "label": "" if study.index == special.without_reference else study.disease.label,
            "include": int(not reason),
            "exclude_reason": reason,
        }


def reference_row(study: Study, special: SpecialCases) -> Row:
    """Return the row of the reference standard. If it is missing, label and diagnosis are empty."""
    if study.index == special.without_reference:
        return {"study_id": study.study_id, "label": "", "diagnosis": "", "method": "lost to follow-up"}
    return {
        "study_id": study.study_id,
        "label": study.disease.label,
        "diagnosis": str(study.disease.lesion),
        "method": "simulated truth",
    }


def reader_rows(study: Study, special: SpecialCases) -> Iterator[Row]:
    """Yield the reads of a study: by all readers in session 1, some again in session 2, some aided in session 3."""
    rng = generator(study.seed, study.split, Stream.READS, study.index)
    label, case = np.array([study.disease.label], np.int8), np.array([case_difficulty(study)])
    ratings = draw_ratings(READERS, label, case, rng, aided=tuple(arm == "aided" for _, arm, _ in SESSIONS))
    for (session, arm, members), rating in zip(SESSIONS, ratings, strict=True):
        missing = missing_reads(READERS, rating, MISSING_RATE, rng)
        for reader, value, left_out in zip(READERS, rating[0], missing[0], strict=True):
            if reader.name not in members:
                continue
            unreadable = special.unreadable is not None and special.unreadable[0] == study.index
            status = "not_read" if left_out else "read"
            if unreadable and reader.name == INDETERMINATE_READER:
                status = "indeterminate"
            yield {
                "study_id": study.study_id,
                "reader": reader.name,
                "session": session,
                "arm": arm,
                "status": status,
                "call": int(value > reader.threshold) if status == "read" else "",
                "score": float(scores_of(np.array(value))) if status == "read" else "",
            }


def covariate_row(study: Study) -> Row:
    """Return the row with the covariates of mother, pregnancy and site."""
    weeks, days = divmod(study.gestational_age_days, 7)
    return {
        "study_id": study.study_id,
        "gestational_age": f"{weeks}+{days}",
        "maternal_age_years": study.maternal_age_years,
        "site": study.site,
        "device": study.device.name,
        "month": study.month,
    }


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write a CSV file in UTF-8 with line feeds. The keys of the first row are the header."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tables(directory: Path, studies: list[Study], special: SpecialCases) -> None:
    """Write ``studies.csv``, ``reference.csv``, ``readers.csv`` and ``covariates.csv`` of a cohort."""
    write_table(directory / "studies.csv", (row for study in studies for row in manifest_rows(study, special)))
    write_table(directory / "reference.csv", (reference_row(study, special) for study in studies))
    write_table(directory / "readers.csv", (row for study in studies for row in reader_rows(study, special)))
    write_table(directory / "covariates.csv", (covariate_row(study) for study in studies))
