"""Run the model on a few image files in this process, without Ray and without an output.

python examples/predict_without_ray.py dataset/sample/images/study-0000[1-3]-1.png
"""

import argparse
from pathlib import Path

import numpy as np

from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.quality import quality_flags
from diagchd_batch.images.resize import resize_to_grid
from diagchd_batch.model import Predictor, resolve_model

BATCH_SIZE = 8

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("images", nargs="+", type=Path, help="PNG, JPEG, TIFF or BMP files")
arguments = parser.parse_args()

spec = resolve_model("diagchd-compact", weights="bundled", precision="float32")
predictor = Predictor(spec, batch_size=BATCH_SIZE)

for start in range(0, len(arguments.images), BATCH_SIZE):
    paths = arguments.images[start : start + BATCH_SIZE]
    # The compiled network takes full batches only. Unused slots stay zero, and their results are not read.
    batch = np.zeros((BATCH_SIZE, spec.height, spec.width, 3), dtype=np.uint8)
    for slot, path in enumerate(paths):
        frame_hwc_u8 = open_image(path.read_bytes(), DecodeLimits()).frame(0)
        batch[slot] = resize_to_grid(frame_hwc_u8, spec.height, spec.width)
    prediction = predictor.predict(batch)
    for slot, path in enumerate(paths):
        probability = float(prediction.chd_probability_b_f32[slot])
        label_map = prediction.label_maps_bhw_u8[slot]
        septum, heart = (int(np.sum(label_map == label)) for label in (1, 2))
        flags = ", ".join(quality_flags(label_map, probability)) or "no flags"
        print(f"{path.name}: CHD {probability:.3f}, septum {septum} px, rest of the heart {heart} px, {flags}")
