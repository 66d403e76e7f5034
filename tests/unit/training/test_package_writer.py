"""A written package: it resolves and scores, holds what was decided out of fold, and nothing that must not leave."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import EvaluationConfig, JobConfig
from diagchd_batch.config.training_block import PackageConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.model.packages.decision_files import read_calibration, read_operating_points
from diagchd_batch.model.packages.registry import find_package, load_card
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec, resolve_model
from diagchd_batch.scoring.driver.prepare_job import model_of
from diagchd_batch.scoring.driver.run_identity.identity import fingerprint_fields
from diagchd_batch.storage import open_store
from diagchd_batch.training import out_of_fold
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold, assign_folds
from diagchd_batch.training.out_of_fold import HeldOutPredictions, study_scores
from diagchd_batch.training.package_decisions import choose_calibration, choose_operating_points
from diagchd_batch.training.package_writer import WrittenPackage, predict_and_write, write_package

SITES = ("Hospital of Springfield", "Clinic of Shelbyville")


def _job(place: Path, n_folds: int = 2, **training: Any) -> JobConfig:
    content = {
        "version": 1,
        "input": {"uri": "/archive/of/springfield", "region": "found", "layout": "tree"},
        "model": {"name": "diagchd-compact"},
        "output": {"uri": "/somewhere"},
        "training": {
            "package_uri": str(place),
            "model_name": "mine",
            "preset": "quick",
            "folds": {"number": n_folds},
            **training,
        },
    }
    return JobConfig.model_validate(content)


def _cohort(n_studies: int, seed: int = 0, positive_share: float = 0.4) -> TrainingCohort:
    """Two images a study; two studies for every fourth subject."""
    generator = np.random.default_rng(seed)
    study = np.repeat(np.arange(n_studies), 2)
    subject = study - (study % 4 == 3)
    label_of_subject = (generator.random(n_studies) < positive_share).astype(np.int8)
    return TrainingCohort(
        image_ids=np.array([f"i-{number:016x}" for number in range(len(study))]),
        frames=np.zeros(len(study), np.int32),
        study_ids=np.array([f"s-{number:016x}" for number in study]),
        subject_ids=np.array([f"p-{number:016x}" for number in subject]),
        labels_i8=label_of_subject[subject],
        has_mask=np.ones(len(study), bool),
        columns={"site": np.array(SITES)[subject % 2]},
    )


def _predictions(cohort: TrainingCohort, folds: tuple[Fold, ...], seed: int = 0) -> list[HeldOutPredictions]:
    """Probabilities of an overconfident model, on another scale in each fold."""
    generator = np.random.default_rng(seed)
    found = []
    for fold in folds:
        if len(fold.held_out_rows):
            logit = 2 * cohort.labels_i8[fold.held_out_rows] - 1 + generator.normal(0, 2, len(fold.held_out_rows))
            vectors = generator.normal(0, 1, (len(logit), 9))
            found.append(HeldOutPredictions(fold.number, fold.held_out_rows, special.expit(6 * logit), vectors))
    return found


def _write(place: Path, n_studies: int = 240, job: JobConfig | None = None) -> WrittenPackage:
    job = job or _job(place)
    assert job.training is not None
    cohort = _cohort(n_studies)
    folds = assign_folds(cohort, job.training.folds, 1)
    weights = [place.parent / f"made-{fold.number}.h5" for fold in folds]
    for path in weights:
        shutil.copyfile(Path(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5")), path)
    return write_package(
        open_store(str(place)),
        load_card("diagchd-compact"),
        job,
        cohort,
        folds,
        weights,
        _predictions(cohort, folds),
        np.array([f"{number:064x}" for number in range(len(cohort))]),
        ["CPU (AVX2)"],
    )


def test_a_package_resolves_with_all_its_members_and_decisions(tmp_path: Path) -> None:
    written = _write(tmp_path / "package")
    spec = resolve_model(str(tmp_path / "package"), "bundled", "float32")
    assert spec.name == "mine" and spec.members == (0, 1) and spec.view_check_digest
    package = find_package(str(tmp_path / "package"))
    points, calibration = read_operating_points(package), read_calibration(package)
    assert points and [point.name for point in points.points] == ["sensitivity 0.95", "Youden"]
    assert calibration and calibration.method != "none"
    assert spec.decisions and (spec.decisions.operating_points, spec.decisions.calibration) == (points, calibration)
    digest = hashlib.sha256((tmp_path / "package" / "calibration.json").read_bytes()).hexdigest()
    assert spec.decisions.calibration_sha256 == digest
    config = _job(tmp_path / "package")
    without = replace(spec, decisions=None)
    fields = [fingerprint_fields(one, config.input, config.limits) for one in (spec, without)]
    assert fields[0] == fields[1]
    before, *after = calibration.measured
    assert before.method == "none"
    chosen = next(one for one in after if one.method == calibration.method)
    assert chosen.expected_calibration_error <= before.expected_calibration_error / 2
    card = written.card
    assert card.training and card.training.region == "found" and card.training.grid == (128, 160)
    assert card.training.cross_validated_auc and card.training.cross_validated_auc[0] > 0.6
    assert card.training.devices == ["CPU (AVX2)"]
    assert "TO BE FILLED IN" in card.intended_use
    assert written.notes == ()


def test_the_card_says_which_package_was_trained_further(tmp_path: Path) -> None:
    place = tmp_path / "package"
    card = _write(place, 24, _job(place, initial_weights="diagchd-compact")).card
    assert card.training is not None
    assert card.training.recipe["initial_weights"]["sha256"] == load_card("diagchd-compact").weights_files[0].sha256
    assert "from the package diagchd-compact 1" in card.limitations
    assert card.limitations.endswith("That package was trained on SIMULATED images.")


def test_nothing_in_a_package_names_anybody(tmp_path: Path) -> None:
    job = _job(tmp_path / "package", folds={"rule": "leave_out", "column": "site"})
    _write(tmp_path / "package", job=job)
    texts = [path.read_text() for path in (tmp_path / "package").glob("*.json")]
    assert len(texts) == 4
    for text in texts:
        for forbidden in (*SITES, "site:", "pringfield", "p-0", "s-0", "i-0", "/archive", "/somewhere", str(tmp_path)):
            assert forbidden not in text
    card = json.loads((tmp_path / "package" / "card.json").read_text())
    assert card["training"]["sites"] is None  # two are fewer than min_cell


def _counts(value: Any) -> Iterator[int]:
    """Yield all numbers of subjects, positives and sites in nested JSON."""
    if isinstance(value, dict):
        yield from (value[name] for name in ("subjects", "positives", "sites") if isinstance(value.get(name), int))
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _counts(part)


@pytest.mark.parametrize("n_studies", [12, 30, 240])
def test_no_count_below_min_cell_is_in_a_package(tmp_path: Path, n_studies: int) -> None:
    job = _job(tmp_path / "package")
    written = _write(tmp_path / "package", n_studies)
    content = [json.loads(path.read_text()) for path in (tmp_path / "package").glob("*.json")]
    assert all(count >= job.disclosure.min_cell for count in _counts(content))
    scores = written.scores
    for point in json.loads((tmp_path / "package" / "operating_points.json").read_text())["points"]:
        for rate, label in (("sensitivity", 1), ("specificity", 0)):
            if point[rate] is not None:
                n = int((scores.truth == label).sum())
                right = round(point[rate] * n)
                assert all(count == 0 or count >= job.disclosure.min_cell for count in (right, n - right))


def test_a_small_training_has_notes_instead_of_decisions(tmp_path: Path) -> None:
    assert any(note.startswith("no view check") for note in _write(tmp_path / "package", 12).notes)


def test_the_same_training_may_write_again_and_another_is_refused(tmp_path: Path) -> None:
    first = _write(tmp_path / "package")
    files = {path: path.read_bytes() for path in (tmp_path / "package").rglob("*.json")}
    assert _write(tmp_path / "package").card == first.card
    assert files == {path: path.read_bytes() for path in (tmp_path / "package").rglob("*.json")}
    with pytest.raises(ConfigError, match="holds a model package already"):
        _write(tmp_path / "package", job=_job(tmp_path / "package", n_folds=3))


def test_another_region_than_that_of_the_training_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "package")
    job = _job(tmp_path / "unused")
    scoring = job.model_copy(
        update={"training": None, "model": job.model.model_copy(update={"name": str(tmp_path / "package")})}
    )
    assert model_of(scoring).name == "mine"
    other = scoring.model_copy(update={"input": scoring.input.model_copy(update={"region": "whole"})})
    with pytest.raises(ConfigError, match=r"input.region is whole.*trained on region found"):
        model_of(other)


def test_a_card_with_another_grid_than_its_training_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "package")
    path = tmp_path / "package" / "card.json"
    card = json.loads(path.read_text())
    card["training"]["grid"] = [64, 64]
    path.write_text(json.dumps(card))
    with pytest.raises(ConfigError, match="grid"):
        resolve_model(str(tmp_path / "package"), "bundled", "float32")


def test_frames_make_images_and_images_make_studies() -> None:
    cohort = _cohort(4)
    rows = np.arange(8)
    values = np.array([0.1, 0.3, 0.2, np.nan, 0.5, 0.7, np.nan, np.nan])
    predictions = [HeldOutPredictions(0, rows, values, np.zeros((8, 1)))]
    mean = study_scores(cohort, predictions, EvaluationConfig())
    assert np.allclose(mean.score, [0.2, 0.2, 0.6, np.nan], equal_nan=True)
    highest = study_scores(cohort, predictions, EvaluationConfig(study_score="max"))
    assert np.allclose(highest.score, [0.3, 0.2, 0.7, np.nan], equal_nan=True)
    assert len(set(mean.subject_ids)) == 3


@pytest.mark.parametrize(("n_studies", "may_be_isotonic"), [(42, False), (4000, True)])
def test_isotonic_steps_never_rest_on_few_studies(n_studies: int, may_be_isotonic: bool) -> None:
    cohort = _cohort(n_studies)
    generator = np.random.default_rng(3)
    logit = (2 * cohort.labels_i8 - 1 + np.repeat(generator.normal(0, 2, n_studies), 2)) / 3
    predictions = [
        HeldOutPredictions(fold, rows, special.expit(logit[rows]), np.zeros((len(rows), 1)))
        for fold, rows in enumerate(np.array_split(np.arange(2 * n_studies), 2))
    ]
    scores = study_scores(cohort, predictions, EvaluationConfig())
    found = choose_calibration(scores, PackageConfig(calibration=["isotonic"]), "mean", 10)
    assert found and (found.method == "isotonic") <= may_be_isotonic
    assert ("isotonic" in [one.method for one in found.measured]) == may_be_isotonic


def test_decisions_need_both_classes_and_two_folds() -> None:
    cohort = _cohort(40, positive_share=0.0)
    scores = study_scores(
        cohort, [HeldOutPredictions(0, np.arange(80), np.linspace(0, 1, 80), np.zeros((80, 1)))], EvaluationConfig()
    )
    assert choose_operating_points(scores, PackageConfig(), "mean", 10).points == []
    assert choose_calibration(scores, PackageConfig(), "mean", 10) is None


class _Cache:
    """Grey images whose brightness is the row's number."""

    def __init__(self, n: int) -> None:
        self.picture_digests = np.array([f"{number:064x}" for number in range(n)])

    def images(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 128, 160, 3))


class _Network:
    """Gives an image's brightness as its probability, and less of it for the weights of later folds."""

    def __init__(self, spec: ModelSpec, batch_size: int) -> None:
        assert spec.gives_view_features
        self.batch_size = batch_size
        self._factor = 1 / (1 + int(Path(spec.weights).stem.removeprefix("fold-")))

    def predict(self, images: np.ndarray) -> Prediction:
        n = len(images)
        return Prediction(
            label_maps_bhw_u8=np.zeros((n, 128, 160), np.uint8),
            chd_probability_b_f32=(images[:, 0, 0, 0] / 255 * self._factor).astype(np.float32),
            pooled_features_bmd_f32=np.zeros((n, 1, 4), np.float32),
            entropy_b_f32=np.zeros(n, np.float32),
        )


def test_each_fold_predicts_what_it_holds_out_with_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out_of_fold, "Predictor", _Network)
    job = _job(tmp_path / "package")
    assert job.training is not None
    cohort = _cohort(50)
    folds = assign_folds(cohort, job.training.folds, 1)
    data = Path(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5")).read_bytes()
    written = predict_and_write(
        open_store(str(tmp_path / "package")),
        load_card("diagchd-compact"),
        job,
        cohort,
        folds,
        _Cache(len(cohort)),  # type: ignore[arg-type]
        [data, data],
        ["CPU (AVX2)"],
        tmp_path,
    )
    fold_of_row = np.zeros(len(cohort), int)
    for fold in folds:
        fold_of_row[fold.held_out_rows] = fold.number
    expected = np.arange(100) / 255 / (1 + fold_of_row)
    assert np.allclose(written.scores.score, expected.reshape(-1, 2).mean(axis=1), atol=1e-6)
    assert np.array_equal(written.scores.folds, fold_of_row[::2])
