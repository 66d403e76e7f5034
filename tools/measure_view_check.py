"""Measures how well a model's view check tells four-chamber views from other pictures, or makes the bundled one.

    python -m tools.measure_view_check diagchd-compact              measure the check of a package
    python -m tools.measure_view_check diagchd-compact --fit PATH   fit a check on training phantoms and write it

The measurement needs no images of patients: true views are fresh phantoms of the split `gate`, and wrong pictures are
those of `dataset.wrong_pictures`. Its output stands in docs/models.md.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dataset.phantom import Split, draw_study, generate_study_image
from dataset.wrong_pictures import WRONG_PICTURES, wrong_picture

TRAINING, GATE = ("TRAINING", 1), ("GATE", 577215)
MAX_LOST_FRACTION = 0.03
"""A little below the 5 % that may be lost, because the fit has seen the phantoms that the network was trained on."""

Views = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Vectors [n, members, length], probabilities of CHD [n] and numbers of quality flags [n]."""


def seen_by_network(images: np.ndarray, model: str) -> Views:
    """Return what a model gives for images, uint8 [n, height, width, 3] at its grid."""
    from diagchd_batch.images.quality import quality_flags
    from diagchd_batch.model import Predictor, choose_batch_size, resolve_model
    from diagchd_batch.model.view_check import view_vectors

    spec = replace(resolve_model(model, "bundled", "float32").with_view_check(None), gives_view_features=True)
    predictor = Predictor(spec, choose_batch_size(spec))
    vectors, probabilities, flags = [], [], []
    for start in range(0, len(images), predictor.batch_size):
        chosen = images[start : start + predictor.batch_size]
        batch = np.zeros((predictor.batch_size, *images.shape[1:]), np.uint8)
        batch[: len(chosen)] = chosen
        seen = predictor.predict(batch)
        assert seen.pooled_features_bmd_f32 is not None
        assert seen.entropy_b_f32 is not None
        maps, n = seen.label_maps_bhw_u8, len(chosen)
        vectors.append(view_vectors(seen.pooled_features_bmd_f32, maps, seen.entropy_b_f32)[:n])
        probabilities.append(seen.chd_probability_b_f32[:n])
        flags += [len(quality_flags(maps[slot], float(seen.chd_probability_b_f32[slot]))) for slot in range(n)]
    return np.concatenate(vectors), np.concatenate(probabilities), np.array(flags)


def phantom(cohort: tuple[str, int], grid: tuple[int, int], index: int) -> tuple[np.ndarray, int]:
    """Return the first image of a phantom study and the number of its subject."""
    split, seed = cohort
    study = draw_study(seed, Split[split], index)
    return generate_study_image(study, 0, grid).image_hwc_u8, study.subject


def phantoms(cohort: tuple[str, int], n: int, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of n phantom studies and their subjects."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        images, subjects = zip(*pool.map(partial(phantom, cohort, grid), range(n), chunksize=16), strict=True)
    return np.stack(images), np.array(subjects)


def fit(model: str, grid: tuple[int, int], n: int, path: Path) -> None:
    """Fit a check to training phantoms and write its file."""
    from diagchd_batch.model.view_check import fit_view_check

    images, subjects = phantoms(TRAINING, n, grid)
    vectors, _, _ = seen_by_network(images, model)
    n_members = vectors.shape[1]
    by_member = [vectors[:, member] for member in range(n_members)]
    check = fit_view_check(by_member, [subjects] * n_members, MAX_LOST_FRACTION)
    path.write_bytes(check.to_json())
    print(f"{path}: fitted to {n} training phantoms, threshold {check.file.threshold:.3f}")


def measure(model: str, grid: tuple[int, int], n_true: int, n_wrong: int) -> None:
    """Print the table of docs/models.md."""
    from diagchd_batch.model import resolve_model
    from diagchd_batch.model.spec import load_view_check
    from diagchd_batch.statistics.classification.auc import delong_interval

    check = load_view_check(resolve_model(model, "bundled", "float32"))
    if check is None:
        raise SystemExit(f"model {model} has no view check; fit one with --fit")
    vectors, _, _ = seen_by_network(phantoms(GATE, n_true, grid)[0], model)
    true_scores = check.score(vectors)
    print(f"true views (fresh phantoms): {n_true}, lost {np.mean(true_scores < 0.5):.1%}\n")
    print("| picture | n | AUC of evaluable (95 % interval) | pass | called CHD | of these without a flag |")
    print("|---|---|---|---|---|---|")
    every: list[np.ndarray] = []
    for kind in WRONG_PICTURES:
        images = np.stack([wrong_picture(kind, 1, number, grid) for number in range(n_wrong)])
        vectors, probabilities, flags = seen_by_network(images, model)
        every.append(check.score(vectors))
        called = probabilities >= 0.5
        truth = np.repeat([1, 0], [n_true, n_wrong])
        auc = delong_interval(truth, np.concatenate([true_scores, every[-1]]), np.arange(n_true + n_wrong))
        print(
            f"| {kind} | {n_wrong} | {auc.value:.3f} ({auc.low:.3f}–{auc.high:.3f}) | {np.mean(every[-1] >= 0.5):.1%} "
            f"| {np.mean(called):.0%} | {np.mean(flags[called] == 0) if called.any() else 0:.0%} |"
        )
    wrong = np.concatenate(every)
    truth = np.repeat([1, 0], [n_true, len(wrong)])
    auc = delong_interval(truth, np.concatenate([true_scores, wrong]), np.arange(len(truth)))
    print(f"| all | {len(wrong)} | {auc.value:.4f} ({auc.low:.4f}–{auc.high:.4f}) | {np.mean(wrong >= 0.5):.1%} | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as model.name of a job file")
    parser.add_argument("--fit", type=Path, metavar="PATH", help="fit a check on training phantoms and write it here")
    parser.add_argument("--phantoms", type=int, help="phantoms to fit on (3,000) or to measure on (1,000)")
    parser.add_argument("--wrong", type=int, default=200, help="wrong pictures of each kind")
    arguments = parser.parse_args()
    from diagchd_batch.model import load_card

    architecture = load_card(arguments.model).architecture
    grid = architecture.height, architecture.width
    if arguments.fit:
        fit(arguments.model, grid, arguments.phantoms or 3_000, arguments.fit)
    else:
        measure(arguments.model, grid, arguments.phantoms or 1_000, arguments.wrong)


if __name__ == "__main__":
    main()
