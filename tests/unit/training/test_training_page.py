"""The HTML report of a training: its curves, tables, cautions and figures, for one fold and for several."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from diagchd_batch.config.training_block import FoldsConfig, PackageConfig, StageConfig, TrainingConfig
from diagchd_batch.model import load_card
from diagchd_batch.report.formatting import number
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.out_of_fold import OutOfFoldScores
from diagchd_batch.training.package_decisions import choose_calibration, choose_operating_points
from diagchd_batch.training.reporting.training_page import FinishedTraining, FoldHistory, training_page
from tests.support.checkers.html_pages import HtmlPage

STAGES = [
    StageConfig(name="segmentation", trains="segmentation", epochs=6, patience=2, classification_weight=0),
    StageConfig(name="classifier", trains="classifier", epochs=8, patience=8, segmentation_weight=0, monitor="auc"),
]


def _history(generator: np.random.Generator) -> list[dict[str, Any]]:
    """Return epochs of which the third, and the last one, are the best of their stages."""
    rows: list[dict[str, Any]] = []
    for epoch, loss in enumerate((0.9, 0.6, 0.5, 0.55, 0.52)):
        figures = {"validation_loss": loss, "validation_iou": 1 - loss, "loss": loss - 0.1 * generator.random()}
        rows.append({"stage": "segmentation", "epoch": epoch, "learning_rate": 1e-3, **figures})
    for epoch in range(8):
        figures = {"validation_loss": 0.6 - epoch / 40, "validation_auc": 0.6 + epoch / 30, "loss": 0.5 - epoch / 30}
        figures["validation_accuracy"] = 0.7
        rows.append({"stage": "classifier", "epoch": epoch, "learning_rate": 1e-3, **figures})
    return rows


def finished_training(n: int = 120, rule: str = "subject", names: tuple[str, ...] = ("0", "1")) -> FinishedTraining:
    """Return a training of n studies; its folds are trained on half of what they do not hold out."""
    generator = np.random.default_rng(3)
    ids = np.array([f"s-{number:016x}" for number in range(n)])
    labels = (np.arange(n) % 3 == 0).astype(np.int8)
    cohort = TrainingCohort(ids, np.zeros(n, np.int32), ids, ids, labels, np.ones(n, bool), {})
    rows = np.arange(n)
    folds = []
    for fold, name in enumerate(names):
        held_out = rows[rows % 2 == fold] if len(names) > 1 else rows[:0]
        rest = np.setdiff1d(rows, held_out)
        folds.append(FoldHistory(Fold(fold, name, rest[10:], rest[:10], held_out), _history(generator)))
    score = np.clip(0.3 + 0.4 * labels + generator.normal(0, 0.2, n), 0.01, 0.99)
    scores = OutOfFoldScores(ids, ids, labels.astype(float), score, rows % 2)
    if len(names) == 1:
        scores = OutOfFoldScores(ids[:0], ids[:0], score[:0], score[:0], rows[:0])
    column = None if rule == "subject" else "site"
    config = TrainingConfig(
        package_uri="unused", stages=STAGES, folds=FoldsConfig.model_validate({"rule": rule, "column": column})
    )
    return FinishedTraining(
        run_id="run-1",
        config=config,
        cohort=cohort,
        folds=folds,
        card=load_card("diagchd-compact"),
        scores=scores,
        points=choose_operating_points(scores, PackageConfig(), "mean", 5),
        calibration=choose_calibration(scores, PackageConfig(), "mean", 5),
        notes=["no view check: each fold needs 100 held-out pictures"],
    )


def test_the_page_is_whole_and_shows_each_fold_and_stage() -> None:
    training = finished_training()
    text = training_page(training)
    page = HtmlPage(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not page.unclosed
    assert len(set(page.ids)) == len(page.ids)
    assert page.figures == page.described_figures == 2 * 3 + 2
    chosen = page.table("The chosen epoch")
    assert [row[:3] for row in chosen.rows] == [
        [f"fold {fold}", *stage] for fold in (0, 1) for stage in (("segmentation", "3 of 5"), ("classifier", "8 of 8"))
    ]
    assert chosen.rows[0][3:] == [number(0.5), number(0.5), number(None), number(None)]
    sizes = page.table("Subjects, studies")
    assert sizes.cell("fold 0", "held out") == ["60 subjects", "60 studies, 20 with CHD"]
    assert 0.8 < float(sizes.cell("fold 0", "held-out AUC")[0]) <= 1
    assert len(page.table("Thresholds").rows) == 2
    assert {row[0] for row in page.table("Methods of calibration").rows} >= {"none", "temperature", "platt"}
    assert training_page(training) == text
    for outside in ("http://", "https://", "<script", "<img"):
        assert outside not in text


def test_the_page_warns_of_small_parts_and_of_stages_that_end_at_their_best() -> None:
    words = HtmlPage(training_page(finished_training())).words
    assert "fold 0: it chooses its epochs with" in words
    assert "fold 1: the last epoch was the best in stage classifier; more epochs may give a better model" in words
    assert "in stage segmentation" not in words
    assert "The package has no view check" in words
    assert "holds out 7 studies with CHD" in HtmlPage(training_page(finished_training(40))).words


@pytest.mark.parametrize("simulated", [True, False])
def test_the_page_says_simulated_only_if_the_training_was(simulated: bool) -> None:
    training = finished_training()
    card = training.card
    marked = load_card("diagchd-compact").model_copy(update={"training": _Summary(simulated)})
    text = training_page(replace(training, card=marked if simulated else card))
    assert ("SIMULATED</strong>" in text) == simulated


class _Summary:
    """What the page reads of `ModelCard.training`."""

    cross_validated_auc = (0.9, 0.85, 0.95)
    grid = (128, 160)
    region = "whole"
    versions: ClassVar[dict[str, str]] = {}
    devices = ("CPU (AVX2)",)

    def __init__(self, simulated: bool) -> None:
        self.simulated = simulated


def test_folds_of_a_column_have_its_values_and_the_page_says_to_keep_it() -> None:
    words = HtmlPage(training_page(finished_training(rule="leave_out", names=("Utrecht & Co", "Ghent")))).words
    assert "fold 0 (Utrecht & Co)" in words
    assert "keep this file in the private tree" in words
    assert "keep this file" not in HtmlPage(training_page(finished_training())).words


def test_one_fold_without_held_out_studies_has_curves_and_says_what_is_missing() -> None:
    page = HtmlPage(training_page(finished_training(names=("0",))))
    assert page.figures == 3
    assert "no study was held out" in page.words
    assert "no studies of both classes were held out" in page.words
