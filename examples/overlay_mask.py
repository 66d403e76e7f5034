"""Draw the predicted mask of an image over the image itself.

    python examples/overlay_mask.py out/sample dataset/sample images/study-00001-1.png overlay.png

The tables name an image by a token. The plan, in the private part of the output, says which file a token stands for, so
this script needs the private part. The picture that it writes may show what the image shows: keep it private, too.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from diagchd_batch.results import open_output
from diagchd_batch.results.query.database import open_query

COLOURS = {1: (255, 64, 64), 2: (64, 160, 255)}  # 1 is the septum, 2 the rest of the heart
OPACITY = 0.4

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", help="the output that holds the mask")
parser.add_argument("input", type=Path, help="the directory that was scored (input.uri)")
parser.add_argument("image", help="the image's path relative to it")
parser.add_argument("picture", type=Path, help="the PNG file to write")
arguments = parser.parse_args()

output = open_output(arguments.output)
planned = open_query(output, {}).table("SELECT uri, image_id, run_id FROM plan ORDER BY run_id").to_pylist()
found = [row for row in planned if row["uri"] == arguments.image]
if not found:
    raise SystemExit(f"{arguments.image} is in no plan of {arguments.output}")

# The mask lies on the model's grid. Nearest-neighbour scaling brings it back to the size of the image.
mask_hw_u8 = output.mask(found[-1]["image_id"], frame=0, run_id=found[-1]["run_id"])
picture = Image.open(arguments.input / arguments.image).convert("RGB")
mask = np.asarray(Image.fromarray(mask_hw_u8).resize(picture.size, Image.Resampling.NEAREST))

pixels = np.asarray(picture, dtype=np.float32)
for label, colour in COLOURS.items():
    blended = (1 - OPACITY) * pixels + OPACITY * np.array(colour, np.float32)
    pixels = np.where((mask == label)[..., None], blended, pixels)
    print(f"class {label}: {np.mean(mask == label):.1%} of the image")
Image.fromarray(pixels.astype(np.uint8)).save(arguments.picture)
print(f"written to {arguments.picture}")
