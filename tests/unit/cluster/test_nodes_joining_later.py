"""Before its first shard, a worker checks that its node agrees with the driver's."""

import json
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks import python_requirements
from diagchd_batch.cluster.node_checks.nodes_joining_later import late_node_problem, memory_problem, node_marks
from diagchd_batch.errors import RunFault
from diagchd_batch.model.batch_size import choose_batch_size, memory_for_batch
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.scoring.worker.ray_entry import OUTCOME, ShardActor
from diagchd_batch.scoring.worker.worker_process import read_outcomes
from diagchd_batch.storage import open_store
from tests.unit.scoring.made_runs import RUN, SUBMISSION, MadeRun, make_run


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRun]:
    """Make a run whose driver is alive."""
    made = make_run(tmp_path, {f"study/{number}.png": b"" for number in range(30)})
    inputs = open_store(made.settings.input_uri)
    with node_marks(RUN, SUBMISSION, inputs, made.output, made.private):
        yield made


def test_the_drivers_own_node_passes_and_nothing_is_left_behind(tmp_path: Path) -> None:
    made = make_run(tmp_path, {"study/0.png": b""})
    before = {info.key for info in made.output.list()}
    with node_marks(RUN, SUBMISSION, open_store(made.settings.input_uri), made.output, made.private):
        assert late_node_problem(made.settings.places) == ""
        mark = Path(made.output.uri) / output_layout.node_mark(RUN, SUBMISSION)
        # The mark has no directory of its own, so a driver that is killed leaves no directory behind, either.
        assert mark.is_file() and mark.parent.name == "runs"
    assert {info.key for info in made.output.list()} == before
    assert list((Path(made.output.uri) / "runs").iterdir()) == []


def test_files_that_go_while_a_run_goes_on_are_no_obstacle(made: MadeRun) -> None:
    inputs = open_store(made.settings.input_uri)
    for number in range(15):
        inputs.delete(f"study/{number}.png")
    assert late_node_problem(made.settings.places) == ""


@pytest.mark.parametrize(
    ("setting", "told"),
    [("input_uri", "input.uri"), ("output_uri", "output.uri"), ("private_uri", "the private tree")],
)
@pytest.mark.parametrize("what", ["an empty directory", "a copy from yesterday"])
def test_a_place_that_is_not_the_drivers_is_named(
    made: MadeRun, tmp_path: Path, setting: str, told: str, what: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "a copy from yesterday" and setting != "input_uri":
        open_store(str(elsewhere)).replace(output_layout.node_mark(RUN, "yesterday"), b"")
        open_store(str(elsewhere)).replace(output_layout.node_proof(RUN, "yesterday"), b"{}")
    problem = late_node_problem(replace(made.settings.places, **{setting: str(elsewhere)}))  # type: ignore[arg-type]
    assert problem.startswith(f"{told} is not the same place there")


def test_another_version_is_named(made: MadeRun) -> None:
    key = output_layout.node_proof(RUN, SUBMISSION)
    proof = json.loads(made.private.read(key))
    proof["versions"]["tensorflow"] = "1.0.0"
    made.private.replace(key, json.dumps(proof).encode())
    assert re.match(r"it has tensorflow \S+ instead of 1\.0\.0", late_node_problem(made.settings.places))


@pytest.mark.parametrize(("available_bytes", "is_enough"), [(4 << 30, True), (5 << 30, True), (3 << 30, False)])
def test_a_node_with_too_little_memory_for_the_runs_batch_is_told(available_bytes: int, is_enough: bool) -> None:
    problem = memory_problem(4 << 30, available_bytes)
    assert (problem == "") is is_enough
    assert is_enough or "has 3.0 GiB of memory there, and the run's batch needs 4.0 GiB" in problem


def test_the_memory_that_a_batch_needs_is_what_its_size_was_chosen_by() -> None:
    model = resolve_model("diagchd", "seed:0", "float32")
    for memory_bytes in range(4 << 30, 64 << 30, 1 << 30):
        batch_size = choose_batch_size(model, memory_bytes)
        assert memory_problem(memory_for_batch(model, batch_size), memory_bytes) == ""
        if batch_size < choose_batch_size(model):
            assert memory_problem(memory_for_batch(model, batch_size + 1), memory_bytes)


@pytest.mark.parametrize("what", ["a package is missing", "another input"])
def test_an_actor_on_such_a_node_scores_nothing_and_says_so(
    made: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "a package is missing":
        monkeypatch.setattr(python_requirements, "PACKAGES", ("not_there_at_all",))
    else:
        shutil.rmtree(tmp_path / "input")
        (tmp_path / "input").mkdir()
    actor = ShardActor(pickle.dumps(replace(made.settings, has_node_proof=True)))
    (shard,) = made.plan.shards()
    answer = actor({"shard": [shard.shard], **{name: [getattr(shard, name)] for name in shard.__slots__[1:]}})
    with pytest.raises(RunFault, match=r"^node .* (lacks not_there_at_all|input\.uri is not the same place)"):
        read_outcomes(answer[OUTCOME])
    assert made.rows() == []
