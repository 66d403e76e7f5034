"""Measures what oneDNN changes in TensorFlow on this processor: processor time, and whether scores depend on the batch.

    python -m tools.measure_onednn [--model diagchd-compact] [--batch 4] [--rounds 3]

The program pins `TF_ENABLE_ONEDNN_OPTS` to 1 (`diagchd_batch/model/pinned_settings.py`). Without the pin, TensorFlow
uses oneDNN only on processors with AVX-512. Processes with the pin and without it take turns. Each scores noise images
with weights from a seed, several times, in other batches each time, and prints the processor time of an image and how
many of the images got different scores in different batches.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

from diagchd_batch.model import Predictor, resolve_model

NAME = "TF_ENABLE_ONEDNN_OPTS"
IMAGES_PER_POSITION = 6
ORDERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="diagchd-compact", help="name of the model (default diagchd-compact)")
    parser.add_argument("--batch", type=int, default=4, help="images of a batch (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind (default 3)")
    arguments = parser.parse_args()
    for round_ in range(arguments.rounds):
        for value in ("0", "1") if round_ % 2 else ("1", "0"):
            code = (
                f"from tools.measure_onednn import measure; measure({arguments.model!r}, {arguments.batch}, {value!r})"
            )
            subprocess.run([sys.executable, "-c", code], check=True)


def measure(model: str, batch: int, value: str) -> None:
    """Print the figures of this process, which must be new: TensorFlow reads the variable once."""
    os.environ[NAME] = value  # after the import of the package, which pins it, and before that of TensorFlow
    spec = resolve_model(model, "seed:0", "float32")
    predictor = Predictor(spec, batch, 1)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (IMAGES_PER_POSITION * batch, spec.height, spec.width, 3), dtype=np.uint8)
    scores: list[set[float]] = [set() for _ in images]
    predictor.predict(images[:batch])  # the first call optimises the graph
    began_s = time.process_time()
    for _ in range(ORDERS):
        for places in generator.permutation(len(images)).reshape(-1, batch):
            probabilities = predictor.predict(images[places]).chd_probability_b_f32
            for image, probability in zip(places, probabilities, strict=True):
                scores[image].add(float(probability))
    milliseconds = 1000 * (time.process_time() - began_s) / (ORDERS * len(images))
    changed = sum(len(found) > 1 for found in scores)
    print(
        f"{NAME}={value}: {milliseconds:7.1f} ms of processor time per image, {changed} of {len(images)} scores changed"
    )


if __name__ == "__main__":
    main()
