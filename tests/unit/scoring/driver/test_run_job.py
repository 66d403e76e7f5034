"""A whole run from its configuration to its end, with workers in this process in place of Ray."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import numpy as np
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import RunFault, StorageFault
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.results.output import open_output
from diagchd_batch.results.verify.one_run import verify_run
from diagchd_batch.scoring.driver import prepare_job
from diagchd_batch.scoring.driver import ray_data as ray_run
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.run_job import RunOutcome, run_job
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.storage.timeouts import SHORT_TIMEOUT_S
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.studies.plan.stored_plan import open_plan
from tests.unit.model.packages.made_package import make_package
from tests.unit.scoring.made_inputs import png


class GreyModel:
    """A stand-in for the job's network. The probability is the mean brightness."""

    def __init__(self, settings: RunSettings) -> None:
        self.spec = settings.model
        self.batch_size = settings.batch_size

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        probability = images_bhwc_u8.mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
        return Prediction(images_bhwc_u8[..., 0] // 86, probability, None, None)


class OneMachine:
    elastic = False

    def nodes(self) -> list[NodeResources]:
        return [NodeResources(cpus=2, gpus=0, memory_bytes=8 << 30)]

    @contextmanager
    def connected(self) -> Iterator[None]:
        yield

    def check(self) -> None:
        pass


class Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def score_here(
    settings: RunSettings,
    shards: Sequence[ShardReference],
    actors: ActorPlan,
    *,
    on_summary: Callable[[ShardSummary], None],
    **callbacks: Any,
) -> None:
    scorer = ShardScorer(settings, GreyModel(settings), Worker.this_process())
    for shard in shards:
        on_summary(scorer.score(shard))


def stop_after_one(
    settings: RunSettings, shards: Sequence[ShardReference], actors: ActorPlan, **callbacks: Any
) -> None:
    score_here(settings, shards[:1], actors, **callbacks)
    raise RunInterrupted(signal.SIGINT)


@pytest.fixture
def config(tmp_path: Path) -> JobConfig:
    for study in range(6):
        (tmp_path / f"archive/study-{study}").mkdir(parents=True)
        (tmp_path / f"archive/study-{study}/1.png").write_bytes(png(40 * study))
    return JobConfig.model_validate(
        {
            "input": {"uri": str(tmp_path / "archive"), "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0"},
            "output": {"uri": str(tmp_path / "out")},
            "shards": {"images_per_shard": 2},
        }
    )


def submit(config: JobConfig) -> RunOutcome:
    return run_job(config, OneMachine(), Silent(), environ={}, command=["submit"])


def test_what_a_run_leaves_passes_verification(config: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    outcome = submit(config)
    output = open_output(config.output.uri)
    report = verify_run(output.storage, output.private, open_plan(output.private, outcome.run_id), outcome.run_id)
    assert (report.problems, report.n_shards_checked, report.counts.n_ok) == ([], 3, 6)


class Told(Silent):
    """Keeps the messages of a run."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def test_a_run_tells_how_many_names_its_plan_left_out(config: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    (Path(config.input.uri) / os.fsdecode(b"M\xfcller.png")).touch()
    told = Told()
    assert run_job(config, OneMachine(), told, environ={}, command=["submit"]).exit_code == 0
    assert [text for text in told.messages if text.startswith("left out: 1 name below input.uri")]


def test_the_record_of_a_run_holds_the_decisions_of_its_package_and_the_scores_do_not_depend_on_them(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    package = make_package(tmp_path / "package")
    model = config.model.model_copy(update={"name": str(package), "weights": "bundled"})
    runs = []
    for place in ("without", "with"):
        job = config.model_copy(
            update={"model": model, "output": config.output.model_copy(update={"uri": str(tmp_path / place)})}
        )
        runs.append((submit(job), open_output(str(tmp_path / place)).runs()[0]))
        file = {"method": "platt", "slope": 0.5, "study_score": "mean", "note": "", "measured": []}
        (package / "calibration.json").write_text(json.dumps(file))
    (_, without), (_, record) = runs
    assert without.model.decisions is None
    assert record.model.decisions and record.model.decisions.calibration
    assert record.model.decisions.calibration.slope == 0.5
    assert record.model.decisions.calibration_sha256
    assert record.fingerprint == without.fingerprint


def test_a_driver_that_is_stopped_after_another_finished_leaves_the_record_finished(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two drivers of one run is interrupted after the first has written its record and _SUCCESS."""

    def other_driver_wins(*arguments: Any, **callbacks: Any) -> Never:
        monkeypatch.setattr(ray_run, "run_shards", score_here)
        assert submit(config).exit_code == 0
        raise RunInterrupted(signal.SIGINT)

    monkeypatch.setattr(ray_run, "run_shards", other_driver_wins)
    with pytest.raises(RunInterrupted):
        submit(config)
    (record,) = open_output(config.output.uri).runs()
    assert (record.status, record.exit_code) == ("finished", 0)
    again = submit(config)
    assert (again.repeated, again.exit_code, again.counts.n_rows) == (True, 0, 6)


def test_an_interrupt_at_the_very_end_leaves_the_record_finished(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LocalStore.create

    def interrupted_create(storage: LocalStore, key: str, data: bytes | Path) -> bool:
        created = create(storage, key, data)
        if key.endswith("_SUCCESS"):
            raise RunInterrupted(signal.SIGTERM)
        return created

    monkeypatch.setattr(ray_run, "run_shards", score_here)
    monkeypatch.setattr(LocalStore, "create", interrupted_create)
    with pytest.raises(RunInterrupted):
        submit(config)
    assert submit(config).exit_code == 0
    (record,) = open_output(config.output.uri).runs()
    assert record.status == "finished"


def test_a_run_is_not_finished_while_a_shard_is_missing(config: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a committed shard vanishes, the run must not report that it has a result for each image."""

    def lose_a_shard(
        settings: RunSettings, shards: Sequence[ShardReference], actors: ActorPlan, **callbacks: Any
    ) -> None:
        score_here(settings, shards, actors, **callbacks)
        LocalStore(settings.output_uri).delete(output_layout.shard_file(settings.run_id, 1))

    monkeypatch.setattr(ray_run, "run_shards", lose_a_shard)
    with pytest.raises(RunFault, match=r"1 shard.*first 1, with 2 images"):
        submit(config)
    (record,) = open_output(config.output.uri).runs()
    assert record.status == "failed"
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    outcome = submit(config)
    assert (outcome.exit_code, outcome.resumed, outcome.counts.n_rows) == (0, True, 6)


def test_the_record_waits_for_storage_as_long_as_work_may(config: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the run's start and end, storage is away for longer than SHORT_TIMEOUT_S but less than `object_timeout_s`."""
    replace = LocalStore.replace

    def replace_if_patient(storage: LocalStore, key: str, data: bytes | Path) -> None:
        if storage.options.object_timeout_s == SHORT_TIMEOUT_S and key.endswith("run.json"):
            raise StorageFault("away")
        replace(storage, key, data)

    monkeypatch.setattr(ray_run, "run_shards", score_here)
    monkeypatch.setattr(LocalStore, "replace", replace_if_patient)
    assert submit(config).exit_code == 0


@pytest.mark.parametrize(("object_timeout_s", "longest_s"), [(3.0, {3.0}), (300.0, {300.0, SHORT_TIMEOUT_S})])
def test_nothing_waits_for_storage_longer_than_work_does(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch, object_timeout_s: float, longest_s: set[float]
) -> None:
    limits = config.limits.model_copy(update={"object_timeout_s": object_timeout_s})
    replace, create, waits_s = LocalStore.replace, LocalStore.create, set()

    def noted(write: Callable[[LocalStore, str, bytes | Path], Any]) -> Callable[[LocalStore, str, bytes | Path], Any]:
        def write_and_note(storage: LocalStore, key: str, data: bytes | Path) -> Any:
            if key.startswith(output_layout.RUNS_PREFIX):
                waits_s.add(storage.options.object_timeout_s)
            return write(storage, key, data)

        return write_and_note

    monkeypatch.setattr(ray_run, "run_shards", score_here)
    monkeypatch.setattr(LocalStore, "replace", noted(replace))
    monkeypatch.setattr(LocalStore, "create", noted(create))
    assert submit(config.model_copy(update={"limits": limits})).exit_code == 0
    assert waits_s == longest_s


def test_a_damaged_score_file_is_a_fault_of_the_run_when_it_resumes(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "run_shards", stop_after_one)
    with pytest.raises(RunInterrupted):
        submit(config)
    (committed,) = Path(config.output.uri).glob("scores/*/*.parquet")
    committed.write_bytes(committed.read_bytes()[:500])
    with pytest.raises(RunFault, match=r"table of run .* cannot be read .*run the command `verify`"):
        submit(config)


def test_a_full_temporary_disk_at_the_end_is_a_fault_of_the_run(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill_the_disk(*arguments: Any, **callbacks: Any) -> None:
        score_here(*arguments, **callbacks)
        monkeypatch.setattr(pq.ParquetWriter, "write_table", full)

    monkeypatch.setattr(ray_run, "run_shards", fill_the_disk)
    with pytest.raises(RunFault, match=r"temporary directory .* No space left"):
        submit(config)
    (record,) = open_output(config.output.uri).runs()
    assert record.status == "failed"


def test_a_resumed_run_keeps_the_threshold_of_its_calls(config: JobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card's threshold is not in the fingerprint, so a package with another threshold must not change a run."""
    monkeypatch.setattr(ray_run, "run_shards", stop_after_one)
    with pytest.raises(RunInterrupted):
        submit(config)
    resolve = resolve_model
    monkeypatch.setattr(prepare_job, "resolve_model", lambda *block: replace(resolve(*block), chd_threshold=0.1))
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    run_id = submit(config).run_id
    output = open_output(config.output.uri)
    assert verify_run(output.storage, output.private, open_plan(output.private, run_id), run_id).problems == []
    rows = output.predictions(run_id).to_table().to_pylist()
    assert [row["chd_call"] for row in rows] == [row["chd_probability"] >= 0.5 for row in rows]


def test_a_deletion_that_was_decided_while_the_run_was_prepared_is_seen(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = prepare_job.PreparedJob.claim

    def claimed_late(prepared: prepare_job.PreparedJob) -> prepare_job.Job:
        prepared.workspace.private.replace(output_layout.DELETION_JOURNAL, b"{}")
        return original(prepared)

    monkeypatch.setattr(prepare_job.PreparedJob, "claim", claimed_late)
    monkeypatch.setattr(ray_run, "run_shards", score_here)
    with pytest.raises(RunFault, match="a deletion of this output is not finished"):
        submit(config)
    assert open_output(config.output.uri).run_ids() == []
