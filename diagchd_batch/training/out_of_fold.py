"""Predicts the studies that a fold's model was not trained on, and makes their study scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.model.batch_size import choose_batch_size
from diagchd_batch.model.predictor import Predictor
from diagchd_batch.model.spec import ModelSpec
from diagchd_batch.model.view_check import view_vectors
from diagchd_batch.training.cohort import UNLABELLED, TrainingCohort


@dataclass(frozen=True)
class HeldOutPredictions:
    """What one fold's model gives for the rows that it holds out.

    Attributes:
        fold: The fold's number.
        rows: int64 ``[n]``, rows of the cohort.
        probability: float64 ``[n]``, the probability of congenital heart disease; NaN where the network gave none.
        view_vectors: float64 ``[n, k]``, what the view check compares (`model.view_check.view_vectors`).
    """

    fold: int
    rows: np.ndarray
    probability: np.ndarray
    view_vectors: np.ndarray


@dataclass(frozen=True)
class OutOfFoldScores:
    """One score a study, each from a model that was not trained on the study's subject. Sorted by study.

    Attributes:
        study_ids: str ``[n]``, tokens.
        subject_ids: str ``[n]``, tokens.
        truth: float64 ``[n]``, 0 or 1; NaN without a label.
        score: float64 ``[n]``, NaN where no image of the study has a probability.
        folds: int64 ``[n]``, the number of the fold that holds the study out.
    """

    study_ids: np.ndarray
    subject_ids: np.ndarray
    truth: np.ndarray
    score: np.ndarray
    folds: np.ndarray


def predict_held_out(
    spec: ModelSpec,
    fold: int,
    rows: np.ndarray,
    images: Callable[[np.ndarray], np.ndarray],
    report_progress: Callable[[int], None] = lambda n: None,
) -> HeldOutPredictions:
    """Predict the held-out rows of a fold, with the compiled network that scoring uses.

    Args:
        spec: The fold's model, with a single member.
        fold: The fold's number.
        rows: int64 ``[n]``, the fold's held-out rows.
        images: Returns uint8 ``[m, height, width, 3]`` for m rows, such as `ImageCache.images`.
        report_progress: Called with the number of rows that are done.

    Returns:
        The predictions, in the order of `rows`.
    """
    spec = replace(spec.with_view_check(None), gives_view_features=True)
    predictor = Predictor(spec, choose_batch_size(spec))
    probability, vectors = [], []
    for start in range(0, len(rows), predictor.batch_size):
        chosen = rows[start : start + predictor.batch_size]
        batch = np.zeros((predictor.batch_size, spec.height, spec.width, 3), np.uint8)
        batch[: len(chosen)] = images(chosen)
        prediction = predictor.predict(batch)
        pooled, entropy = prediction.pooled_features_bmd_f32, prediction.entropy_b_f32
        assert pooled is not None
        assert entropy is not None
        probability.append(prediction.chd_probability_b_f32[: len(chosen)].astype(np.float64))
        vectors.append(view_vectors(pooled, prediction.label_maps_bhw_u8, entropy)[: len(chosen), 0])
        report_progress(start + len(chosen))
    found = np.concatenate(probability) if probability else np.zeros(0)
    found[~np.isfinite(found)] = np.nan
    return HeldOutPredictions(fold, rows, found, np.concatenate(vectors) if vectors else np.zeros((0, 0)))


def study_scores(
    cohort: TrainingCohort, predictions: list[HeldOutPredictions], config: EvaluationConfig
) -> OutOfFoldScores:
    """Return the scores of the held-out studies, made of frames and images as the evaluation makes them.

    Args:
        cohort: The cohort whose rows were predicted.
        predictions: Those of every fold.
        config: Its `image_score`, `top_k` and `study_score`.
    """
    rows = np.concatenate([one.rows for one in predictions]) if predictions else np.zeros(0, np.int64)
    table = pd.DataFrame(
        {
            "study": cohort.study_ids[rows],
            "subject": cohort.subject_ids[rows],
            "image": cohort.image_ids[rows],
            "label": cohort.labels_i8[rows].astype(np.float64),
            "fold": np.concatenate([np.full(len(one.rows), one.fold) for one in predictions]) if predictions else rows,
            "probability": np.concatenate([one.probability for one in predictions]) if predictions else np.zeros(0),
        }
    )
    by_image = table.groupby(["study", "image"], sort=True)["probability"]
    if config.image_score == "top_k":
        image = by_image.agg(lambda values: values.nlargest(config.top_k).mean())
    else:
        image = by_image.agg(config.image_score)
    score = image.groupby("study", sort=True).agg(config.study_score)
    study = table.groupby("study", sort=True)[["subject", "label", "fold"]].first()
    label = study["label"].to_numpy(np.float64)
    return OutOfFoldScores(
        study_ids=study.index.to_numpy(str),
        subject_ids=study["subject"].to_numpy(str),
        truth=np.where(label == UNLABELLED, np.nan, label),
        score=score.loc[study.index].to_numpy(np.float64),
        folds=study["fold"].to_numpy(np.int64),
    )
