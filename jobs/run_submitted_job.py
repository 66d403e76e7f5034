"""Runs the job that a client has left in the private tree: `submit`, `train` or `index` with ``--address``.

Only a cluster starts it, in the working directory that the client has sent.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagchd_batch.cluster.node_checks.python_requirements import unsuitable_node

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig

PRIVATE_URI_FILE = Path("private_uri")
INDEX_OPTION = "--index"
TRAIN_OPTION = "--train"


def main() -> int:
    """Check that this node can run the package, run the job, and return its exit code."""
    if problem := unsuitable_node():
        print(f"error: the cluster's head: {problem}", file=sys.stderr)
        return 2  # A number, because an older Python cannot import ExitCode.
    # They are imported only now, because a node without the right packages cannot import them.
    if INDEX_OPTION in sys.argv:
        from jobs import index

        return index.main(_load)
    if TRAIN_OPTION in sys.argv:
        from jobs import train

        return train.main(_load)
    from jobs import score

    return score.main(_load)


def _load(name: str, _overrides: Sequence[str], _environ: Mapping[str, str]) -> "JobConfig":
    from diagchd_batch import output_layout
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.errors import ConfigError, ItemError, StorageFault
    from diagchd_batch.storage import open_store

    private = open_store(PRIVATE_URI_FILE.read_text(), owner_only=True)
    try:
        return JobConfig.model_validate_json(private.read(output_layout.submitted_job(name)))
    except (ItemError, StorageFault) as error:
        reason = error.code.value if isinstance(error, ItemError) else str(error)
        reason = reason.replace(private.uri, "the private tree")  # this text is printed, for Ray's logs
        raise ConfigError(
            f"the cluster's head does not see the private tree that the client wrote to ({reason}): output.uri, or "
            "output.private_uri, is not the same place on both. Name a bucket (s3://…), or a directory that is mounted "
            "at the same path on this machine and on all nodes"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
