from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from dataset.phantom import Split, draw_cohort, draw_study
from dataset.phantom.cohort.studies import BLOCK_STUDIES, BLOCK_SUBJECTS, SITES, Study, image_parameters
from dataset.phantom.rendering.lesions import Lesion
from dataset.phantom.rendering.scanner import DEVICES


@cache
def cohort() -> tuple[Study, ...]:
    return tuple(draw_cohort(3, Split.OTHER, 3200))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, because several threads mostly wait for each other while other programs need the cores."""
    with threadpool_limits(limits=1):
        yield


def test_study_does_not_depend_on_how_many_there_are() -> None:
    assert list(cohort()[:40]) == list(draw_cohort(3, Split.OTHER, 40))


def test_splits_share_nothing() -> None:
    hearts = [{study.heart for study in draw_cohort(3, split, 64)} for split in Split]
    assert len(set.union(*hearts)) == sum(len(of_split) for of_split in hearts)


def test_blocks_hold_twins_and_repeat_scans() -> None:
    block = cohort()[:BLOCK_STUDIES]
    assert len({study.subject for study in block}) == BLOCK_SUBJECTS
    by_subject = {study.subject: [other for other in block if other.subject == study.subject] for study in block}
    twins = [pair for pair in by_subject.values() if {study.fetus for study in pair} == {1, 2}]
    repeats = [pair for pair in by_subject.values() if {study.visit for study in pair} == {1, 2}]
    assert len(twins) == 2 and len(repeats) == 4
    for first, second in twins:
        assert first.heart != second.heart and first.gestational_age_days == second.gestational_age_days
    for pair in repeats:
        first, second = sorted(pair, key=lambda study: study.visit)
        assert first.heart == second.heart and first.disease == second.disease
        assert 14 <= second.gestational_age_days - first.gestational_age_days < 42


def test_prevalence_and_every_lesion() -> None:
    assert np.mean([study.disease.label for study in cohort()]) == pytest.approx(1 / 3, abs=0.03)
    assert {study.disease.lesion for study in cohort()} == set(Lesion)
    assert Counter(study.images for study in cohort()).keys() == {1, 2, 3}


def test_nothing_but_the_disease_changes_with_the_label() -> None:
    for index in range(200):
        healthy = draw_study(9, Split.OTHER, index, prevalence=0.0)
        diseased = draw_study(9, Split.OTHER, index, prevalence=1.0)
        assert (healthy.disease.label, diseased.disease.label) == (0, 1)
        assert replace(healthy, disease=diseased.disease) == diseased
        one, other = image_parameters(healthy, 0), image_parameters(diseased, 0)
        assert one.heart != other.heart and replace(one, heart=other.heart) == other


def _everything_but_the_heart(study: Study) -> list[Any]:
    parameters = image_parameters(study, 0)
    settings, view, device = parameters.settings, parameters.view, study.device
    return [
        *astuple(replace(settings, gain_curve_db=())),
        *settings.gain_curve_db,
        *astuple(replace(view, center_mm=())),  # type: ignore[arg-type]
        *view.center_mm,
        *astuple(replace(study.chest, heart_offset=(), rib_angles=(), rib_half_lengths=())),  # type: ignore[arg-type]
        len(study.chest.rib_angles),
        *astuple(study.echoes),
        parameters.openness,
        study.fetus,
        study.visit,
        study.images,
        study.gestational_age_days,
        study.maternal_age_years,
        study.month,
        study.index,
        *(study.site == site for site in SITES),
        *(study.device == known for known in DEVICES),
        device.height,
        device.width,
    ]


@pytest.mark.parametrize(
    "classifier",
    [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, max_leaf_nodes=8, random_state=0),
    ],
    ids=["linear", "boosted-trees"],
)
def test_nothing_but_the_anatomy_tells_the_label(
    classifier: HistGradientBoostingClassifier | Pipeline,
) -> None:
    # An AUC of pure chance has a standard error of 0.011 here. The tolerance is four standard errors.
    rows = np.array([[float(x) for x in _flat(_everything_but_the_heart(study))] for study in cohort()])
    label = np.array([study.disease.label for study in cohort()])
    subject = [study.subject for study in cohort()]
    score = cross_val_predict(classifier, rows, label, groups=subject, cv=GroupKFold(5), method="predict_proba")[:, 1]
    assert roc_auc_score(label, score) == pytest.approx(0.5, abs=0.044)


def test_lesions_overlap_with_normal_variation() -> None:
    # This is what an observer who measures the anatomy to 0.03 heart units (about 1.5 pixels of the network's grid)
    # could achieve. The label must be neither obvious nor impossible to predict.
    rng = np.random.default_rng(0)
    measured = []
    for study in cohort():
        heart = image_parameters(study, 0).heart
        gap = max(heart.gap_width, 0.2 * heart.dropout_depth)
        sizes = (heart.septum_shift, 0.5 * heart.left_scale, 0.5 * heart.right_scale, gap, heart.tricuspid_level)
        measured.append([*sizes, heart.atria_half_width, heart.atrial_shift, heart.primum_gap])
    rows = np.array(measured) + rng.normal(0.0, 0.03, (len(measured), len(measured[0])))
    label = np.array([study.disease.label for study in cohort()])
    classifier = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.08, random_state=0)
    subject = [study.subject for study in cohort()]
    score = cross_val_predict(classifier, rows, label, groups=subject, cv=GroupKFold(5), method="predict_proba")[:, 1]
    assert 0.93 < roc_auc_score(label, score) < 0.99
    subtle = np.array([study.disease.label and study.disease.severity < 0.4 for study in cohort()], bool)
    usable = subtle | (label == 0)
    assert roc_auc_score(label[usable], score[usable]) < 0.95


def _flat(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if not isinstance(value, tuple)]
