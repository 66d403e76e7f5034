"""Scores studies of a real PACS, and compares the results with those of the same files on a disk.

    python -m tools.score_pacs --studies 200

Orthanc is started on loopback and filled over DIMSE. The tests do the same with 20 studies. The command exits with 1 if
a row differs or `verify` finds a problem.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.support.dicom_archives import write_loops
from tests.support.scoring_runs import ScoringRun, verify
from tests.support.servers_and_hosts.orthanc import ENVIRON, Orthanc


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--studies", type=int, default=200, help="studies of one still image and one loop (default: 200)"
    )
    parser.add_argument("--requests-per-second", type=float, default=200.0, help="the run's limit (default: 200)")
    arguments = parser.parse_args()
    os.environ.update(ENVIRON)
    settings = {"input.layout": "dicom", "input.dicomweb.max_requests_per_second": arguments.requests_per_second}
    with tempfile.TemporaryDirectory(prefix="score-pacs-") as name, Orthanc(Path(name) / "pacs") as pacs:
        archive = write_loops(Path(name) / "archive", arguments.studies)
        began_s = time.monotonic()
        pacs.store(archive.paths)
        print(f"stored {len(archive.paths)} instances of {arguments.studies} studies in {_since(began_s)}")
        rows = {}
        for kind, uri in (("files", str(archive.directory)), ("PACS", pacs.uri)):
            run = ScoringRun(Path(name) / kind, uri, settings)
            began_s = time.monotonic()
            ending = run.finish()
            print(f"{kind}: exit code {ending.exit_code}, {len(run.rows())} rows in {_since(began_s)}")
            problems = verify(str(run.output))
            print(f"{kind}: verify ends with {problems}")
            if ending.exit_code or problems:
                print(ending.messages, file=sys.stderr)
                return 1
            rows[kind] = run.rows()
        equal = rows["files"] == rows["PACS"]
        print(f"rows equal: {equal}")
    return 0 if equal else 1


def _since(began_s: float) -> str:
    return f"{time.monotonic() - began_s:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
