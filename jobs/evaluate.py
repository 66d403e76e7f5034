"""Writes the metrics tables of a run and its report, on the cluster where the data lie.

    python jobs/evaluate.py OUTPUT [--run-id ID] [--private-uri URI]

The arguments, settings and exit codes are those of `diagchd-batch evaluate`.
"""

import sys

from diagchd_batch.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["evaluate"]
    main()
