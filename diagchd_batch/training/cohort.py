"""The studies that a model is trained on: one row a frame, with labels, masks and what the folds are made by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.training_block import TEST
from diagchd_batch.errors import InputError
from diagchd_batch.studies.layouts.manifest import COLUMNS, SOURCE
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.studies.tables import cell_parsing
from diagchd_batch.studies.tables.csv_and_parquet import TableColumns, read_table
from diagchd_batch.studies.tables.evaluation_inputs import (
    name_by_study_id,
    read_covariates,
    read_reference,
    refuse_accession_numbers,
    refuse_contradicting_labels,
)
from diagchd_batch.wording import counted

UNLABELLED = -1
_TEST_SET = "training.test.studies"
PLAN_COLUMNS = ["subject_id", "study_id", "image_id", "frames", "mask_uri"]
"""The columns of `PLAN_IMAGES` that a cohort is made of."""


@dataclass(frozen=True)
class TrainingCohort:
    """The frames that a model may be trained on. All arrays have one element a frame.

    Attributes:
        image_ids: str ``[n]``, tokens of the image files.
        frames: int32 ``[n]``, frame numbers within the files, from 0.
        study_ids: str ``[n]``, tokens of the studies.
        subject_ids: str ``[n]``, tokens of the subjects.
        labels_i8: int8 ``[n]``, 0 normal, 1 congenital heart disease, -1 without a label.
        has_mask: bool ``[n]``, whether there is a reference mask.
        columns: Name of a column of the user's tables → str ``[n]``, its values, empty where there is none. The values
            are identified data.
    """

    image_ids: np.ndarray
    frames: np.ndarray
    study_ids: np.ndarray
    subject_ids: np.ndarray
    labels_i8: np.ndarray
    has_mask: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.image_ids)

    def take(self, rows: np.ndarray) -> "TrainingCohort":
        """Return the cohort of the given rows, in their order.

        Args:
            rows: int ``[m]`` row numbers, or bool ``[n]``.
        """
        arrays = {one.name: getattr(self, one.name)[rows] for one in fields(self) if one.name != "columns"}
        return TrainingCohort(**arrays, columns={name: values[rows] for name, values in self.columns.items()})


@dataclass(frozen=True, slots=True)
class CohortCounts:
    """How large a cohort or a part of it is.

    Attributes:
        n_subjects: Subjects.
        n_studies: Studies.
        n_positive: Studies with congenital heart disease.
        n_frames: Frames.
    """

    n_subjects: int
    n_studies: int
    n_positive: int
    n_frames: int


def count_rows(cohort: TrainingCohort, rows: np.ndarray) -> CohortCounts:
    """Return the numbers of subjects and studies of some rows of a cohort.

    Args:
        cohort: The cohort.
        rows: int ``[m]``, row numbers.
    """
    positive = rows[cohort.labels_i8[rows] == 1]
    return CohortCounts(
        n_subjects=len(np.unique(cohort.subject_ids[rows])),
        n_studies=len(np.unique(cohort.study_ids[rows])),
        n_positive=len(np.unique(cohort.study_ids[positive])),
        n_frames=len(rows),
    )


def load_cohort(config: JobConfig, plan: Plan, frames: Mapping[str, Sequence[int]] | None = None) -> TrainingCohort:
    """Return the studies of a frozen plan, without those of the test set.

    Args:
        config: A job with a block `training`.
        plan: The plan, whose inventory has labels and masks.
        frames: Token of an image → its frames that are used, from 0. An image that is not named has the frames of the
            manifest, or frame 0.

    Raises:
        InputError: Labels contradict each other, a column or a study of the job's tables does not exist, or a subject
            is in the test set and outside it.
    """
    images = pa.Table.from_batches(plan.images(PLAN_COLUMNS)).to_pandas()
    return cohort_of(config, plan.studies().read_all(), images, frames)


def cohort_of(
    config: JobConfig, studies: pa.Table, images: pd.DataFrame, frames: Mapping[str, Sequence[int]] | None = None
) -> TrainingCohort:
    """Return the cohort of an inventory. Arguments besides those of `load_cohort`, and exceptions, are the same.

    Args:
        config: A job with a block `training`.
        studies: The studies, with the schema `PLAN_STUDIES`.
        images: The images, with the columns subject_id, study_id, image_id, frames and mask_uri of `PLAN_IMAGES`.
        frames: Token of an image → its frames that are used.
    """
    known = studies.select(["study_id", "subject_id", "source_study_id", "label"]).to_pandas(integer_object_nulls=True)
    known = known.set_index("study_id")
    labels = _labels(config, studies, known)
    columns = {name: study_values(config, studies, name) for name in _columns_needed(config)}
    in_test_set = known["source_study_id"].isin(_test_studies(config, known["source_study_id"], columns))
    _refuse_subjects_in_and_outside(known["subject_id"], in_test_set)
    images = images[~images["study_id"].map(in_test_set).astype(bool)]
    chosen = [
        list((frames or {}).get(image, (0,) if named is None else named))
        for image, named in zip(images["image_id"], images["frames"], strict=True)
    ]
    repeated = images.loc[images.index.repeat([len(one) for one in chosen])]
    own_ids = repeated["study_id"].map(known["source_study_id"])
    return TrainingCohort(
        image_ids=repeated["image_id"].to_numpy(str),
        frames=np.array([frame for one in chosen for frame in one], np.int32),
        study_ids=repeated["study_id"].to_numpy(str),
        subject_ids=repeated["subject_id"].to_numpy(str),
        labels_i8=repeated["study_id"].map(labels).to_numpy(np.int8),
        has_mask=repeated["mask_uri"].notna().to_numpy(bool),
        columns={name: np.array([values.get(one, "") for one in own_ids], str) for name, values in columns.items()},
    )


def study_values(config: JobConfig, studies: pa.Table, column: str) -> dict[str, str]:
    """Return the values of a column of `evaluation.covariates` or else of the manifest.

    Args:
        config: The job.
        studies: The studies of the inventory, with the schema `PLAN_STUDIES`.
        column: The name of the column.

    Returns:
        The own id of a study → its value. Studies without a value are left out.

    Raises:
        InputError: Neither table has the column, or a study has two values.
    """
    if config.evaluation.covariates:
        table = read_covariates(config.evaluation.covariates)
        refuse_accession_numbers(table, "evaluation.covariates", config.input.layout)
        table = name_by_study_id(table, "evaluation.covariates", studies)
        if column in table:
            named = table.dropna(subset=column)
            return dict(zip(named["study_id"], named[column].astype(str), strict=True))
    if config.input.manifest is None:
        raise InputError(
            f"training needs the column {column}, and evaluation.covariates does not have it; add it to that table"
        )
    values: dict[str, str] = {}
    required = TableColumns((*COLUMNS.required, column), COLUMNS.optional)
    for batch in read_table(config.input.manifest, SOURCE, required):
        ids, cells = batch.parse("study_id", cell_parsing.identifier), batch.parse(column, str)
        for row, study, value in zip(batch.rows, ids, cells, strict=True):
            if value and values.setdefault(study, value) != value:
                raise InputError(
                    f"{SOURCE}, {batch.unit} {row}: the study has another {column} in an earlier {batch.unit}; "
                    "correct one of them"
                )
    return values


def _columns_needed(config: JobConfig) -> list[str]:
    assert config.training is not None, "a training job has a block `training`"
    test = config.training.test
    names = [config.training.folds.column, test.column if test else None]
    return list(dict.fromkeys(name for name in names if name))


def _labels(config: JobConfig, studies: pa.Table, known: pd.DataFrame) -> pd.Series:
    """Return the label of each study by its token: that of the manifest or the folder, or that of the reference."""
    labels = pd.Series([UNLABELLED if pd.isna(label) else int(label) for label in known["label"]], known.index)
    if config.evaluation.reference:
        reference = read_reference(config.evaluation.reference)
        refuse_accession_numbers(reference, "evaluation.reference", config.input.layout)
        reference = name_by_study_id(reference, "evaluation.reference", studies)
        refuse_contradicting_labels(reference, studies)
        given = reference.dropna(subset="label").set_index("study_id")["label"].astype(int)
        labels = known["source_study_id"].map(given).fillna(labels).astype(int)
    return labels


def _test_studies(config: JobConfig, known: "pd.Series[str]", columns: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Return the own ids of the studies that training never reads."""
    assert config.training is not None, "a training job has a block `training`"
    folds, test = config.training.folds, config.training.test
    if folds.rule == "column":
        assert folds.column is not None
        said = {study for study, value in columns[folds.column].items() if value == TEST}
        if said:
            return said
    if test is None:
        return set()
    if test.column is not None:
        found = {study for study, value in columns[test.column].items() if value == test.value}
        if not found & set(known):
            raise InputError(
                f"training.test: no study of the input has the value {test.value} in column {test.column}; correct it"
            )
        return found
    assert test.studies is not None
    named = _study_list(test.studies)
    if absent := named - set(known):
        raise InputError(
            f"{_TEST_SET}: {counted(len(absent), 'study')} of {len(named):,} are not in the input; correct the table, "
            "so that none of the test set is trained on under another name"
        )
    return named


def _study_list(uri: str) -> set[str]:
    return {
        study
        for batch in read_table(uri, _TEST_SET, TableColumns(("study_id",)))
        for study in batch.parse("study_id", cell_parsing.identifier)
    }


def _refuse_subjects_in_and_outside(subjects: "pd.Series[str]", in_test_set: "pd.Series[bool]") -> None:
    both = set(subjects[in_test_set]) & set(subjects[~in_test_set])
    if both:
        one = min(both)
        inside = subjects.index[in_test_set & (subjects == one)][0]
        outside = subjects.index[~in_test_set & (subjects == one)][0]
        raise InputError(
            f"training.test: subject {one} has study {inside} in the test set and study {outside} outside it "
            f"({counted(len(both), 'such subject')}); put all studies of a subject on one side"
        )
