"""What `evaluate` runs on a cluster: the metrics tables of a run and its report, where the data lie.

    python jobs/evaluate.py OUTPUT [--run-id ID] [--private-uri URI]

The evaluation's settings are those that the run was submitted with. Exit codes are those of `diagchd-batch`.
"""

import sys

from diagchd_batch.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["evaluate"]
    main()
