"""What `submit --address` starts on a cluster: scores the job that it left in the private tree.

Not to be called by hand: its working directory is the one that `submit` sent.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diagchd_batch.cluster.node_checks.requirements import unsuitable_node

if TYPE_CHECKING:
    from diagchd_batch.config.models import JobConfig

PRIVATE_URI_FILE = Path("private_uri")


def main() -> int:
    if problem := unsuitable_node():
        print(f"error: the cluster's head: {problem}", file=sys.stderr)
        return 2
    from jobs import score  # only now, since it imports what may not be there

    return score.main(_load)


def _load(name: str, _overrides: Sequence[str], _environ: Mapping[str, str]) -> "JobConfig":
    from diagchd_batch import output_layout
    from diagchd_batch.config.models import JobConfig
    from diagchd_batch.errors import ConfigError, ItemError, StorageFault
    from diagchd_batch.storage import open_store

    private = open_store(PRIVATE_URI_FILE.read_text(), owner_only=True)
    try:
        return JobConfig.model_validate_json(private.read(output_layout.submitted_job(name)))
    except (ItemError, StorageFault) as error:
        reason = error.code.value if isinstance(error, ItemError) else str(error)
        raise ConfigError(
            f"the cluster's head does not see the private tree that the client wrote to ({reason}): output.uri, or "
            "output.private_uri, is not the same place on both. Name a bucket (s3://…), or a directory that is mounted "
            "at the same path on this machine and on all nodes"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
