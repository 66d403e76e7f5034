"""A scorer scores a whole shard without Ray, and without TensorFlow if its model needs none."""

import subprocess
import sys
from pathlib import Path

SCORE = """
import sys
from pathlib import Path
from tests.unit.scoring.made_inputs import png
from tests.unit.scoring.made_runs import make_run
(summary,) = make_run(Path(sys.argv[1]), {"study/image.png": png(77)}).score_all()
assert summary.committed and summary.n_ok == 1
sys.exit(str(found) if (found := {"tensorflow", "keras", "ray"} & set(sys.modules)) else 0)
"""


def test_a_shard_is_scored_without_ray(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCORE, str(tmp_path)], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
