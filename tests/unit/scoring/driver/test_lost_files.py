"""A finished run that has lost files is resumed by the same command, and its files are made again."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.results.verify.one_run import verify_run
from diagchd_batch.runs import submit as submit_module
from diagchd_batch.runs.submit import SubmitOptions, submit_here
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.workspace import Workspace
from tests.unit.scoring.driver import test_run_job
from tests.unit.scoring.driver.test_run_job import GreyModel, OneMachine, score_here, stop_after_one
from tests.unit.scoring.made_inputs import png


class OtherModel(GreyModel):
    """A stand-in for the same model on another device, whose last bits differ."""

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        found = super().predict(images_bhwc_u8, reference_bhw_u8)
        return replace(found, chd_probability_b_f32=found.chd_probability_b_f32 * np.float32(0.999))


class Messages:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class FinishedRun:
    """A finished run of six studies in three shards."""

    def __init__(self, root: Path) -> None:
        for study in range(6):
            (root / f"archive/study-{study}").mkdir(parents=True)
            (root / f"archive/study-{study}/1.png").write_bytes(png(40 * study))
        self.config = JobConfig.model_validate(
            {
                "input": {"uri": str(root / "archive"), "layout": "tree"},
                "model": {"name": "diagchd-compact", "weights": "seed:0"},
                "output": {"uri": str(root / "out")},
                "shards": {"images_per_shard": 2},
                "evaluation": {"resamples": 100},
            }
        )
        self.scored: list[int] = []
        self.messages: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            self.score_here(patch)
            self.run_id = self.submit().run_id
        self.before = self.files()
        self.backup = root / "backup"
        shutil.copytree(self.output, self.backup)

    def restore(self) -> None:
        """Bring the output back to what it was when the run had finished."""
        shutil.rmtree(self.output)
        shutil.copytree(self.backup, self.output)
        self.scored.clear()

    def score_here(self, patch: pytest.MonkeyPatch) -> None:
        """Score in this process, and note which shards are scored."""

        def score(settings: RunSettings, shards: Sequence[ShardReference], actors: ActorPlan, **callbacks: Any) -> None:
            self.scored.extend(shard.shard for shard in shards)
            score_here(settings, shards, actors, **callbacks)

        patch.setattr(ray_data, "run_shards", score)
        patch.setattr(submit_module, "LocalCluster", lambda machine: OneMachine())

    def submit(self, *, accept: bool = False) -> RunOutcome:
        messages = Messages()
        self.messages = messages.texts
        request = RunRequest()
        options = SubmitOptions(self.config, {}, ["submit"], request, accept_changed_shards=accept)
        return submit_here(options, messages).outcome

    @property
    def output(self) -> Path:
        return Path(self.config.output.uri)

    def shard(self, number: int) -> Path:
        return self.output / f"scores/run_id={self.run_id}/shard-{number:05d}.parquet"

    def files(self) -> dict[str, bytes]:
        """Return the public files without those that hold times."""
        found = {str(path.relative_to(self.output)): path for path in self.output.rglob("*") if path.is_file()}
        public = {name: path for name, path in found.items() if not name.startswith("_private/")}
        return {
            name: path.read_bytes()
            for name, path in public.items()
            if not name.startswith(("runs/", "run_table/", "reports/"))
        }

    def problems(self) -> Sequence[Any]:
        workspace = Workspace.open(self.config.output.uri, environ={})
        plan = open_plan(workspace.private, self.run_id)
        return verify_run(workspace.storage, workspace.private, plan, self.run_id).problems

    def record(self) -> Any:
        return read_run_record(LocalStore(self.config.output.uri), self.run_id)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return FinishedRun(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run(finished: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> FinishedRun:
    finished.restore()
    finished.score_here(monkeypatch)
    return finished


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_a_whole_finished_run_is_repeated(run: FinishedRun) -> None:
    again = run.submit()
    assert (again.repeated, again.exit_code, run.scored, run.files() == run.before) == (True, 0, [], True)


@pytest.mark.parametrize(
    ("damage", "without_marker"), [(Path.unlink, False), (cut_off, False), (empty, False), (cut_off, True)]
)
def test_a_lost_score_file_is_scored_again(
    run: FinishedRun, damage: Callable[[Path], Any], without_marker: bool
) -> None:
    damage(run.shard(1))
    if without_marker:
        (run.output / f"runs/run_id={run.run_id}/_SUCCESS").unlink()
    again = run.submit()
    assert (again.resumed, again.repeated, again.exit_code, run.scored) == (True, False, 0, [1])
    assert (run.problems(), run.files() == run.before) == ([], True)
    assert any("score file (shard 1)" in text for text in run.messages)
    assert run.submit().repeated


@pytest.mark.parametrize(
    "lost",
    ["predictions", "metrics", "metrics/curves", "reports", "lineages", "superseded", "run_table", "runs/*/run.json"],
)
def test_lost_derived_files_are_made_again_without_scoring(run: FinishedRun, lost: str) -> None:
    for path in run.output.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not run.submit().repeated
    assert (run.scored, run.problems(), run.files() == run.before) == ([], [], True)
    assert next(run.output.glob("reports/*/index.html")).stat().st_size
    assert run.submit().repeated


@pytest.mark.parametrize("damaged", ["predictions/*/*.parquet", "lineages/*.parquet", "runs/*/run.json"])
def test_damaged_derived_files_are_made_again(run: FinishedRun, damaged: str) -> None:
    cut_off(next(run.output.glob(damaged)))
    assert not run.submit().repeated
    assert (run.scored, run.problems(), run.files() == run.before) == ([], [], True)


def test_a_lost_private_record_is_written_again(run: FinishedRun) -> None:
    (run.output / f"_private/runs/run_id={run.run_id}/run.json").unlink()
    assert not run.submit().repeated
    assert (run.scored, run.problems()) == ([], [])


def test_everything_at_once_is_made_again(run: FinishedRun) -> None:
    for name in ("scores", "predictions", "metrics", "reports", "runs", "run_table", "lineages", "superseded"):
        shutil.rmtree(run.output / name)
    run.submit()
    assert (sorted(run.scored), run.problems(), run.files() == run.before) == ([0, 1, 2], [], True)


def test_changed_scores_are_refused_until_they_are_accepted(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = run.shard(2).read_bytes()
    run.shard(1).unlink()
    run.shard(2).unlink()
    monkeypatch.setattr(test_run_job, "GreyModel", OtherModel)
    for _ in range(2):  # The same command refuses them again.
        with pytest.raises(RunFault, match=r"2 score files \(shard 1, 2\) .* --accept-changed-shards") as refused:
            run.submit()
        assert refused.value.exit_code == 1
        assert run.record().status == "failed"
        assert not (run.output / f"runs/run_id={run.run_id}/_SUCCESS").exists()
    run.shard(2).write_bytes(backup)
    assert run.submit(accept=True).exit_code == 0
    (changed,) = run.record().changed_shards
    assert changed.shard == 1 and changed.sha256_after not in changed.sha256_before
    assert run.problems() == []
    assert run.submit().repeated
    shutil.rmtree(run.output / "predictions")
    run.submit()
    assert run.record().changed_shards == [changed]


def test_a_restored_score_file_needs_no_acceptance(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = run.shard(1).read_bytes()
    run.shard(1).unlink()
    monkeypatch.setattr(test_run_job, "GreyModel", OtherModel)
    with pytest.raises(RunFault, match="differ from the digest"):
        run.submit()
    run.shard(1).write_bytes(backup)
    assert run.submit().exit_code == 0
    assert (run.record().changed_shards, run.problems(), run.files() == run.before) == ([], [], True)


def test_the_digests_outlive_an_interrupted_repair(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in (1, 2):
        cut_off(run.shard(shard))
    monkeypatch.setattr(test_run_job, "GreyModel", OtherModel)
    with monkeypatch.context() as once:
        once.setattr(ray_data, "run_shards", stop_after_one)
        with pytest.raises(RunInterrupted):
            run.submit()
    with pytest.raises(RunFault, match=r"2 score files \(shard 1, 2\)"):
        run.submit()
