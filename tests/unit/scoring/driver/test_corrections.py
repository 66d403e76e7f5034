"""A correction of the manifest without new images takes effect in a lineage, and nothing is scored again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.report import write_report
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import Selection
from diagchd_batch.results.verify.lineage import verify_lineage
from diagchd_batch.results.verify.one_run import verify_run
from diagchd_batch.runs.compare import compare
from diagchd_batch.runs.evaluate import evaluate, evaluate_tables
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome, run_job
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.workspace import Workspace
from tests.unit.scoring.driver.test_run_job import OneMachine, Silent, score_here
from tests.unit.scoring.made_inputs import png

STUDIES = "abcdef"
FIRST = {study: ("01"[number % 2], "") for number, study in enumerate(STUDIES)}
"""Study → (label, include) in the first manifest."""


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Score in this process, and return the list of the numbers of scored shards."""
    shards: list[int] = []

    def score(settings: RunSettings, pending: Sequence[ShardReference], actors: ActorPlan, **callbacks: Any) -> None:
        shards.extend(shard.shard for shard in pending)
        score_here(settings, pending, actors, **callbacks)

    monkeypatch.setattr(ray_data, "run_shards", score)
    return shards


class Archive:
    def __init__(self, root: Path) -> None:
        self.root = root
        for number, study in enumerate(STUDIES):
            (root / "archive").mkdir(exist_ok=True)
            (root / f"archive/{study}.png").write_bytes(png(40 * number))
        self.config = JobConfig.model_validate(
            {
                "input": {"uri": str(root / "archive"), "layout": "manifest", "manifest": str(root / "studies.csv")},
                "model": {"name": "diagchd-compact", "weights": "seed:0"},
                "output": {"uri": str(root / "out")},
                "evaluation": {"resamples": 100},
            }
        )
        self.output = Workspace.open(self.config.output.uri, environ={})

    def submit(self, selection: Selection = "all", **changes: tuple[str, str]) -> RunOutcome:
        """Write the manifest with the changed studies, and submit."""
        rows = [f"{study},{study}.png,{','.join(row)}\n" for study, row in (FIRST | changes).items()]
        (self.root / "studies.csv").write_text("study_id,uri,label,include\n" + "".join(rows))
        return run_job(
            self.config,
            OneMachine(),
            Silent(),
            environ={},
            command=["submit"],
            request=RunRequest(selection=selection),
            derive=lambda run: evaluate_tables(self.output, run, self.config.evaluation),  # type: ignore[arg-type]
            conclude=lambda run: write_report(self.output.storage, run),  # type: ignore[arg-type]
        )

    def planned_studies(self, run_id: str) -> dict[str, tuple[int | None, bool]]:
        """Return study → (label, included) of the run's own plan."""
        rows = open_plan(self.output.private, run_id).studies().read_all().to_pylist()
        return {row["source_study_id"]: (row["label"], row["n_images"] > 0) for row in rows}

    def evaluated(self, run_id: str) -> dict[str, tuple[str, int | None]]:
        sql = (
            "SELECT DISTINCT source_study_id, status, reference_label FROM study_results "
            f"JOIN (SELECT DISTINCT source_study_id, study_id FROM studies) USING (study_id) WHERE run_id = '{run_id}'"
        )
        rows = open_query(self.output, TABLES).table(sql).to_pylist()
        return {row["source_study_id"]: (row["status"], row["reference_label"]) for row in rows}

    def problems(self, run_id: str) -> list[Any]:
        plan = open_plan(self.output.private, run_id)
        run = verify_run(self.output.storage, self.output.private, plan, run_id)
        return [*run.problems, *verify_lineage(self.output, run_id).problems]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_a_label_and_an_exclusion_that_come_alone_make_a_run_without_images(
    archive: Archive, scored: list[int]
) -> None:
    first = archive.submit()
    n_scored = len(scored)
    second = archive.submit("new", a=("1", ""), b=("1", "0"))
    assert (second.exit_code, second.nothing_selected, second.counts.n_images) == (0, False, 0)
    assert len(scored) == n_scored
    assert archive.problems(second.run_id) == []
    assert archive.planned_studies(second.run_id) == {"a": (1, True), "b": (1, False)}
    evaluated = archive.evaluated(second.run_id)
    assert evaluated["a"] == ("analysed", 1)
    assert evaluated["b"][0] == "excluded"
    assert archive.evaluated(first.run_id)["a"] == ("analysed", 0)
    before, record = sorted(archive.output.runs(), key=lambda run: run.started_at)
    assert (record.run_id, record.status, record.parent_run_id) == (second.run_id, "finished", first.run_id)
    assert record.started_at >= before.ended_at  # the time from which the correction holds


def test_everything_that_reads_runs_reads_one_without_images(archive: Archive, scored: list[int]) -> None:
    first = archive.submit()
    second = archive.submit("new", a=("1", ""))
    again = archive.submit(a=("1", ""))  # The same command repeats the result.
    assert (again.run_id, again.repeated, again.n_new_images) == (second.run_id, True, 0)
    assert archive.output.current_predictions(second.run_id).num_rows == len(STUDIES)
    compare(archive.output, first.run_id, second.run_id)
    database = open_query(archive.output, {})
    for view in ("runs", "lineages", "predictions", "scores", "masks", "plan", "studies", "current", "failures"):
        database.table(f"SELECT count(*) FROM {view}")
    assert evaluate(archive.output).summary.run_id == second.run_id


def test_nothing_is_made_where_neither_images_nor_corrections_are_new(archive: Archive, scored: list[int]) -> None:
    archive.submit()
    assert archive.submit("new").nothing_selected
    assert archive.submit("new", a=("1", "")).counts.n_images == 0
    assert archive.submit("new", a=("1", "")).nothing_selected
    assert archive.submit("failed", a=("1", ""), b=("0", "")).nothing_selected  # The correction waits for --select new.
    assert len(archive.output.runs()) == 2


def test_a_correction_of_a_correction_and_images_after_it_go_on_in_the_lineage(
    archive: Archive, scored: list[int]
) -> None:
    archive.submit()
    archive.submit("new", a=("1", ""), b=("1", "0"))
    third = archive.submit("new", a=("", ""), b=("1", ""))
    assert archive.evaluated(third.run_id)["a"][1] is None
    assert archive.evaluated(third.run_id)["b"] == ("analysed", 1)
    (archive.root / "archive/a.png").write_bytes(png(255))
    fourth = archive.submit("new", a=("", ""), b=("1", ""))
    assert fourth.counts.n_images == 1
    assert archive.problems(fourth.run_id) == []


def test_every_study_may_be_withdrawn(archive: Archive, scored: list[int]) -> None:
    archive.submit()
    last = archive.submit("new", **{study: ("", "0") for study in STUDIES})
    assert {status for status, _ in archive.evaluated(last.run_id).values()} == {"excluded"}
    assert archive.problems(last.run_id) == []
