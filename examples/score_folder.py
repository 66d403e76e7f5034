"""Score a folder of images that has one directory per study.

    python examples/score_folder.py FOLDER OUTPUT

The script writes a job file and submits it. Run it again after an interruption: it continues where it stopped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path, help="a directory with one sub-directory of images per study")
parser.add_argument("output", type=Path, help="where the results go")
arguments = parser.parse_args()

job = {
    "version": 1,
    "input": {"uri": str(arguments.folder), "layout": "tree"},
    # The small bundled model. For real images, set a name of "diagchd" and the path of its weights.
    "model": {"name": "diagchd-compact", "weights": "bundled"},
    "output": {"uri": str(arguments.output)},
}
arguments.output.mkdir(parents=True, exist_ok=True)
job_file = arguments.output.with_suffix(".job.yaml")
job_file.write_text(yaml.safe_dump(job, sort_keys=False))

command = [sys.executable, "-m", "diagchd_batch", "submit", str(job_file)]
sys.exit(subprocess.run(command).returncode)
