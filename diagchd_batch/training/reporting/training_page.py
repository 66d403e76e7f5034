"""The HTML report of a training: curves and figures of each fold, calibration, and the chosen operating points."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from diagchd_batch.config.training_block import IMAGENET, SCRATCH, StageConfig, TrainingConfig
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.decision_files import CalibrationFile, OperatingPointsFile
from diagchd_batch.report.elements import Cell, Figure, Section, Table, Tile
from diagchd_batch.report.figures.curves import calibration_plot
from diagchd_batch.report.figures.learning_curves import LearningCurve, StageSpan, learning_curves_plot
from diagchd_batch.report.formatting import count, counted, interval, number
from diagchd_batch.report.page_templates import filled_page
from diagchd_batch.statistics.classification.auc import delong_interval
from diagchd_batch.statistics.classification.proportions import proportion_interval
from diagchd_batch.statistics.recalibration import Method, fit_recalibration
from diagchd_batch.training.cohort import CohortCounts, TrainingCohort, count_rows
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.out_of_fold import OutOfFoldScores
from diagchd_batch.training.recipe.early_stopping import chosen_epochs

FEW = 10
"""With fewer studies of a class than this, a figure of a fold gets a caution."""

_BINS = 10
_PARTS = ("training", "validation", "held out")
_RULES = {"subject": "by subject", "leave_out": "one value of a column each", "column": "as a column says"}
_CURVES = (("loss", "loss", None), ("iou", "mean IoU", (0.0, 1.0)), ("auc", "AUC", (0.0, 1.0)))
"""Name of a figure in the history, its name on the page, and the limits of its axis (None: those of the values)."""


@dataclass(frozen=True)
class FoldHistory:
    """A fold that is trained.

    Attributes:
        fold: The fold.
        history: One row for each epoch (`fold_task.FoldResult.history`).
    """

    fold: Fold
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class FinishedTraining:
    """What the page is made of.

    Attributes:
        run_id: The training's run id.
        config: How it was trained.
        cohort: What it was trained on.
        folds: The folds in the order of their numbers.
        card: The card of the new package.
        scores: The out-of-fold scores.
        points: The chosen operating points.
        calibration: The chosen calibration, or None.
        notes: What the package lacks, and why.
    """

    run_id: str
    config: TrainingConfig
    cohort: TrainingCohort
    folds: Sequence[FoldHistory]
    card: ModelCard
    scores: OutOfFoldScores
    points: OperatingPointsFile
    calibration: CalibrationFile | None
    notes: Sequence[str]

    @property
    def names_values(self) -> bool:
        """Whether folds are named by values of a column, which are the archive's own."""
        return self.config.folds.rule != "subject" and len(self.folds) > 1

    def name_of(self, fold: Fold) -> str:
        """Return what the page calls a fold."""
        return f"fold {fold.number} ({fold.name})" if self.names_values else f"fold {fold.number}"


def training_page(training: FinishedTraining) -> str:
    """Return the whole HTML document. The same training gives the same bytes.

    Args:
        training: The training.
    """
    sections = [
        _headline(training),
        _folds(training),
        *_curves_of_folds(training),
        _calibration(training),
        _points(training),
        _recipe(training),
    ]
    card = training.card
    return filled_page(
        "training_report.html.j2",
        "style.css",
        title=f"Training of {card.name} {card.version}",
        subtitle=f"training {training.run_id}, network {card.architecture.identifier}",
        run_id=training.run_id,
        simulated=bool(card.training and card.training.simulated),
        names_values=training.names_values,
        sections=sections,
        markup=Markup,
    )


def _headline(training: FinishedTraining) -> Section:
    whole = count_rows(training.cohort, np.arange(len(training.cohort)))
    tiles = []
    summary = training.card.training
    if summary and summary.cross_validated_auc:
        value, low, high = summary.cross_validated_auc
        tiles.append(Tile("cross-validated AUC", number(value), f"{interval(low, high)} · {_n_scored(training)}"))
    tiles += [
        Tile("studies", count(whole.n_studies), f"of {counted(whole.n_subjects, 'subject')}"),
        Tile("with CHD", count(whole.n_positive), "studies"),
        Tile("folds", count(len(training.folds)), _RULES[training.config.folds.rule]),
    ]
    text = [
        "Cross-validated: each study is scored by the model of the fold that holds it out. The AUC is the mean of the "
        "folds' AUCs, weighted by their pairs of a diseased and a healthy study; scores of different folds are never "
        "ranked together. The interval resamples subjects within folds."
    ]
    return Section("headline", "Headline", [*text, *_cautions(training)], tiles)


def _n_scored(training: FinishedTraining) -> str:
    scores = training.scores
    return counted(int((~np.isnan(scores.truth) & ~np.isnan(scores.score)).sum()), "study")


def _cautions(training: FinishedTraining) -> Iterator[str]:
    if not any(len(one.fold.held_out_rows) for one in training.folds):
        yield "Caution: no study was held out, so this page has no figures of performance."
    stages = training.config.resolved_stages
    for one in training.folds:
        name = training.name_of(one.fold)
        for rows, what in (
            (one.fold.validation_rows, "chooses its epochs with"),
            (one.fold.held_out_rows, "holds out"),
        ):
            if (counts := count_rows(training.cohort, rows)).n_studies and counts.n_positive < FEW:
                few = counted(counts.n_positive, "study")
                yield f"Caution, {name}: it {what} {few} with CHD, so chance moves its figures much."
        ended_late = [
            stage.name
            for stage, row in zip(stages, chosen_epochs(stages, one.history), strict=False)
            if stage.epochs > 1 and one.history[row]["epoch"] == stage.epochs - 1
        ]
        if ended_late:
            yield (
                f"Caution, {name}: the last epoch was the best in stage {' and '.join(ended_late)}; more epochs may "
                "give a better model."
            )
    for note in training.notes:
        yield f"The package has {note}."


def _folds(training: FinishedTraining) -> Section:
    rows: list[Sequence[Cell]] = [
        (training.name_of(one.fold), *_sizes(training, one.fold), _held_out_auc(training, one.fold))
        for one in training.folds
    ]
    sizes = Table(
        "Subjects, studies and studies with CHD of each fold; AUC of the studies that it holds out",
        ("fold", *_PARTS, "held-out AUC"),
        rows,
    )
    chosen = [row for one in training.folds for row in _chosen_rows(training, one)]
    figures = Table(
        "The chosen epoch of each stage, with the figures of the fold's validation part there",
        ("fold", "stage", "epoch", "loss", "mean IoU", "AUC", "accuracy"),
        chosen,
    )
    text = [
        "The validation part chooses the best epoch, so its figures are optimistic. Only held-out studies tell how "
        "good the model is."
    ]
    return Section("folds", "Folds", text, tables=[sizes, figures])


def _sizes(training: FinishedTraining, fold: Fold) -> Iterator[tuple[str, str]]:
    for rows in (fold.training_rows, fold.validation_rows, fold.held_out_rows):
        counts: CohortCounts = count_rows(training.cohort, rows)
        yield (
            counted(counts.n_subjects, "subject"),
            f"{counted(counts.n_studies, 'study')}, {counts.n_positive:,} with CHD",
        )


def _held_out_auc(training: FinishedTraining, fold: Fold) -> tuple[str, str]:
    scores = training.scores
    inside = (scores.folds == fold.number) & ~np.isnan(scores.truth) & ~np.isnan(scores.score)
    found = delong_interval(scores.truth[inside], scores.score[inside], scores.subject_ids[inside], scale="score")
    return number(found.value), "" if found.value is None else interval(found.low, found.high)


def _chosen_rows(training: FinishedTraining, one: FoldHistory) -> Iterator[tuple[str, ...]]:
    stages = training.config.resolved_stages
    for stage, row in zip(stages, chosen_epochs(stages, one.history), strict=False):
        figures = one.history[row]
        yield (
            training.name_of(one.fold),
            stage.name,
            f"{figures['epoch'] + 1} of {_n_epochs(one.history, row)}",
            *(number(figures.get(f"validation_{name}")) for name in ("loss", "iou", "auc", "accuracy")),
        )


def _n_epochs(history: Sequence[Mapping[str, Any]], row: int) -> int:
    """Return the number of epochs that the stage of a row had."""
    last = row
    while last + 1 < len(history) and history[last + 1]["epoch"]:
        last += 1
    return int(history[last]["epoch"]) + 1


def _curves_of_folds(training: FinishedTraining) -> Iterator[Section]:
    for one in training.folds:
        figures = [figure for shown in _CURVES if (figure := _curve_figure(training, one, *shown))]
        yield Section(f"curves-{one.fold.number}", f"Learning curves, {training.name_of(one.fold)}", figures=figures)


def _curve_figure(
    training: FinishedTraining, one: FoldHistory, name: str, label: str, limits: tuple[float, float] | None
) -> Figure | None:
    curves = [
        LearningCurve(kind, [row.get(f"{prefix}{name}") for row in one.history])
        for kind, prefix in (("training", ""), ("validation", "validation_"))
    ]
    curves = [curve for curve in curves if any(value is not None for value in curve.values)]
    if not curves:
        return None
    stages = training.config.resolved_stages
    firsts = [row for row, epoch in enumerate(one.history) if epoch["epoch"] == 0]
    spans = [
        StageSpan(stage.name, first, chosen)
        for stage, first, chosen in zip(stages, firsts, chosen_epochs(stages, one.history), strict=False)
    ]
    values = [value for curve in curves for value in curve.values if value is not None]
    title = f"{label[0].upper()}{label[1:]}, {training.name_of(one.fold)}"
    described = f"{label} by epoch, of the {' and the '.join(curve.kind for curve in curves)} part."
    return Figure(
        title,
        f"{described[0].upper()}{described[1:]} Circles mark the epochs whose weights were taken.",
        learning_curves_plot(title, label, curves, spans, limits or (0.0, 1.05 * max(values) or 1.0), described),
    )


def _calibration(training: FinishedTraining) -> Section:
    scores, chosen = training.scores, training.calibration
    known = ~np.isnan(scores.truth) & ~np.isnan(scores.score)
    truth, score, folds = scores.truth[known], scores.score[known], scores.folds[known]
    left_out = [] if len(truth) else ["no study with a label was held out"]
    figures = [_calibration_figure("Calibration before", truth, score)] if len(truth) else []
    tables, text = [], ["Scores and outcomes of the studies that were held out."]
    if chosen is not None:
        text.append(f"The package has the method {chosen.method}. {chosen.note}")
        if chosen.method != "none":
            figures.append(
                _calibration_figure("Calibration after", truth, _out_of_fold(chosen.method, truth, score, folds))
            )
            text.append("After: each fold is calibrated by a map that was fitted on the other folds.")
        tables.append(
            Table(
                "Methods of calibration, each fitted on the other folds",
                ("method", "log loss", "Brier score", "expected calibration error"),
                [
                    (one.method, number(one.log_loss), number(one.brier), number(one.expected_calibration_error))
                    for one in chosen.measured
                ],
            )
        )
    return Section("calibration", "Calibration", text, figures=figures, tables=tables, left_out=left_out)


def _out_of_fold(method: Method, truth: np.ndarray, score: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the scores, each calibrated by a map of the other folds where those have both classes."""
    calibrated = score.copy()
    for fold in np.unique(folds):
        others = folds != fold
        if len(np.unique(truth[others])) == 2:
            calibrated[~others] = fit_recalibration(method, truth[others], score[others]).apply(score[~others])
    return calibrated


def _calibration_figure(title: str, truth: np.ndarray, score: np.ndarray) -> Figure:
    places = np.minimum((score * _BINS).astype(int), _BINS - 1)
    rows = []
    for place in np.unique(places):
        inside = places == place
        n, n_positive = int(inside.sum()), int(truth[inside].sum())
        low, high = proportion_interval(n_positive, n)
        rows.append(
            {
                "n": n,
                "score_low": place / _BINS,
                "score_high": (place + 1) / _BINS,
                "mean_score": float(score[inside].mean()),
                "observed": n_positive / n,
                "ci_low": low,
                "ci_high": high,
            }
        )
    described = f"{title}: share of studies with CHD against their mean score, in {_BINS} bins, with 95 % intervals."
    return Figure(title, f"{described} {counted(len(truth), 'study')}.", calibration_plot(title, rows, described))


def _points(training: FinishedTraining) -> Section:
    rows = [
        (point.name, point.rule, f"{point.threshold:.4f}", number(point.sensitivity), number(point.specificity))
        for point in training.points.points
    ]
    table = Table(
        "Thresholds, with the rates where each fold is called at the threshold of the others",
        ("operating point", "rule", "threshold", "sensitivity", "specificity"),
        rows,
    )
    left_out = [] if rows else ["no studies of both classes were held out"]
    return Section("points", "Operating points", [training.points.note], tables=[table], left_out=left_out)


def _recipe(training: FinishedTraining) -> Section:
    card, config = training.card, training.config
    stages = Table(
        "Stages",
        ("stage", "trains", "epochs", "batch", "optimiser", "learning rate", "chosen by"),
        [_stage(stage) for stage in config.resolved_stages],
    )
    on = [name for name, value in config.augmentation.model_dump().items() if value]
    rows: list[tuple[str, str]] = [
        ("initial weights", _initial_weights(config)),
        ("class weights", str(config.class_weights)),
        ("sampling", config.sampling),
        ("augmentation", ", ".join(on) or "none"),
        ("seed", str(config.seed)),
        ("precision", config.precision),
    ]
    if card.training:
        rows += [("grid", " × ".join(map(str, card.training.grid))), ("region", str(card.training.region))]
        rows += [
            *sorted(card.training.versions.items()),
            ("trained on", "; ".join(card.training.devices) or "not known"),
        ]
    rows.append(("intended use", card.intended_use))
    return Section("recipe", "Recipe", tables=[stages, Table("Settings and versions", ("", ""), rows)])


def _stage(stage: StageConfig) -> tuple[str, ...]:
    return (
        stage.name,
        stage.trains,
        f"up to {stage.epochs:,}",
        f"{stage.batch_size:,}",
        stage.optimizer,
        f"{stage.learning_rate:g}, {stage.schedule}",
        f"validation {stage.monitor.replace('_', ' ')}",
    )


def _initial_weights(config: TrainingConfig) -> str:
    """Return where the initial weights came from, without a path."""
    if config.initial_weights.startswith(IMAGENET):
        return "encoder from ImageNet"
    return "random" if config.initial_weights == SCRATCH else "a model package"
