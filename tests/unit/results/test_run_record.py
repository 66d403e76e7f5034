"""Run records: which fields are public, and that a new option does not become public by accident."""

from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.results.run_record import (
    public_config,
    read_private_run_record,
    read_run_record,
    write_run_record,
)
from diagchd_batch.storage import open_store
from tests.unit.results.made_run import RUN_ID, MadePlan, planned_image, run_record

CANARY = "SURNAME"
JOB = {
    "input": {"uri": f"/archive/{CANARY}", "layout": "manifest", "manifest": f"/{CANARY}.csv", "label_map": {127: 1}},
    "model": {"name": "diagchd", "weights": f"s3://{CANARY}/w.h5"},
    "output": {"uri": f"s3://{CANARY}", "private_uri": f"/{CANARY}"},
    "evaluation": {
        "reference": f"/{CANARY}.csv",
        "readers": f"/{CANARY}.csv",
        "covariates": f"/{CANARY}.csv",
        "cut_points": {CANARY: [1.0]},
        "primary": {"endpoint": CANARY, "comparator": CANARY},
    },
}


def test_public_configuration_has_settings_and_no_place_or_name() -> None:
    public = public_config(JobConfig.model_validate(JOB))
    assert CANARY not in str(public)
    settings = {"layout": "manifest", "frames": "all", "region": "whole", "label_map": {"127": 1}, "simulated": False}
    assert public["input"] == settings
    assert public["limits"]["max_pixels"] == 50_000_000
    assert public["model"] == {"name": "diagchd", "members": "all", "precision": "float32", "batch_size": "auto"}


def test_round_trip(tmp_path: Path) -> None:
    storage, private = open_store(str(tmp_path / "o")), open_store(str(tmp_path / "p"))
    assert read_run_record(storage, RUN_ID) is None
    record = run_record(MadePlan([[planned_image(0, 0)]]))
    write_run_record(storage, private, record)
    assert read_private_run_record(private, RUN_ID) == record
    public = read_run_record(storage, RUN_ID)
    assert public == record.public()
    text = storage.read(output_layout.run_record(RUN_ID)).decode()
    for identified in ("HOSPITAL", "someone", "node-a", record.plan_digest, record.input_digest):
        assert identified not in text
        assert identified in private.read(output_layout.private_run_record(RUN_ID)).decode()


def test_a_damaged_record_is_said_to_be_one(tmp_path: Path) -> None:
    storage = open_store(str(tmp_path))
    storage.replace(output_layout.run_record(RUN_ID), b'{"run_id": "r"')
    with pytest.raises(RunFault, match=r"run\.json"):
        read_run_record(storage, RUN_ID)
