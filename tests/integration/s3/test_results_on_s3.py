"""A run's results on S3 are committed, derived, read back and verified as on a disk."""

import numpy as np
import pytest

from diagchd_batch import output_layout
from diagchd_batch.results import open_output
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.results.verify.one_run import verify_run
from tests.unit.results.made_run import RUN_ID, label_map, make_run

pytestmark = pytest.mark.s3


def test_results_on_s3(s3_uri: str) -> None:
    run = make_run(s3_uri)
    assert committed_shards(run.storage, RUN_ID) == {0, 1, 2}
    output = open_output(run.storage.uri)
    assert output.scores(RUN_ID).count_rows() == output.predictions().count_rows() == 21
    np.testing.assert_array_equal(output.mask("i-0001000000000000", 2), label_map(102))
    report = verify_run(run.storage, run.private, run.plan, RUN_ID)  # type: ignore[arg-type]
    assert report.problems == []

    key = output_layout.shard_file(RUN_ID, 1)
    altered = bytearray(run.storage.read(key))
    altered[len(altered) // 2] ^= 1
    run.storage.replace(key, bytes(altered))
    run.storage.delete(output_layout.shard_file(RUN_ID, 2))
    found = {(p.kind.value, p.place) for p in verify_run(run.storage, run.private, run.plan, RUN_ID).problems}  # type: ignore[arg-type]
    assert ("altered_shard", "shard 1") in found
    assert ("missing_shard", "shard 2") in found
