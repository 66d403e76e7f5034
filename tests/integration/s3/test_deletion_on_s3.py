"""`delete` in S3 leaves the same objects as on a disk, also if it was interrupted."""

from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.results import open_output
from diagchd_batch.runs.delete import delete
from diagchd_batch.runs.verify import verify
from diagchd_batch.storage import Store, open_store
from tests.unit.results.made_scored_output import MadeScoredOutput

pytestmark = [pytest.mark.s3, pytest.mark.slow]

SUBJECT = "subject-of-ada"


class StoppedError(Exception):
    """Stands for the end of the process between two changes of the bucket."""


def _objects(store: Store) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list()}


@pytest.fixture
def made(tmp_path: Path) -> MadeScoredOutput:
    made = MadeScoredOutput(tmp_path / "made", [("a", SUBJECT, 3), ("b", "subject-b", 3), ("c", SUBJECT, 2)])
    made.run("first")
    made.studies += [("d", SUBJECT, 1), ("e", "subject-e", 1)]
    made.run("second", parent="first")
    return made


@pytest.fixture
def bucket(made: MadeScoredOutput, s3_uri: str) -> Store:
    """A copy of the output in S3."""
    store = open_store(f"{s3_uri}/out")
    for key, data in _objects(open_store(made.uri)).items():
        store.create(key, data)
    return store


def test_a_subject_is_deleted_as_on_a_disk(made: MadeScoredOutput, bucket: Store) -> None:
    delete(open_output(bucket.uri), subject=SUBJECT, confirmed=True)
    delete(made.output, subject=SUBJECT, confirmed=True)
    assert _objects(bucket) == _objects(open_store(made.uri))
    assert verify(open_output(bucket.uri)).ok


def test_an_interrupted_deletion_is_finished(
    made: MadeScoredOutput, bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(bucket)
    original, left = kind.delete, [2]

    def stopped(store: Store, key: str) -> Any:
        if left[0] == 0:
            raise StoppedError
        left[0] -= 1
        return original(store, key)

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(kind, "delete", stopped)
        delete(open_output(bucket.uri), subject=SUBJECT, confirmed=True)
    assert delete(open_output(bucket.uri), confirmed=True).finished_earlier
    delete(made.output, subject=SUBJECT, confirmed=True)
    assert _objects(bucket) == _objects(open_store(made.uri))


def test_a_run_is_deleted(bucket: Store) -> None:
    delete(open_output(bucket.uri), run_id="second", confirmed=True)
    assert not [key for key in _objects(bucket) if "run_id=second" in key]
    assert verify(open_output(bucket.uri)).ok
