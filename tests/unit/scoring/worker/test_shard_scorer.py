"""Scoring whole shards without Ray: rows, fixed batches, equal bytes, attempts and errors."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, StorageFault
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.scoring.decoding.in_process import InProcessDecoder
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.worker import shard_scorer as shard_module
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, PlainModel, png, tiff
from tests.unit.scoring.made_runs import MadeRun, make_run

FILES = {f"study-{n:02d}/image.png": png(20 * n) for n in range(9)} | {
    "study-03/cine.tif": tiff([50, 100, 150, 200, 250]),
    "study-05/bad.png": png(0)[:40],
    "study-07/empty.png": b"",
    "study-08/text.png": b"not an image",
}


def test_every_frame_has_one_row_with_what_the_model_said(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    (summary,) = run.score_all()
    rows = run.rows()
    assert (summary.n_images, summary.n_ok, summary.n_failed) == (13, 9 + 5, 3)
    assert summary.failures == {"decode_error": 1, "empty_image": 1, "unsupported_format": 1}
    assert len(rows) == 17
    assert len({(row["image_id"], row["frame"]) for row in rows}) == 17
    cine = [row for row in rows if row["source_frames"] == 5]
    assert [row["frame"] for row in cine] == [0, 1, 2, 3, 4]
    assert [round(row["chd_probability"] * 255) for row in cine] == [50, 100, 150, 200, 250]
    assert [row["chd_call"] for row in cine] == [False, False, True, True, True]
    for row in rows:
        if row["status"] == "ok":
            mask = decode_mask(row["mask_png"])
            assert mask.shape == (HEIGHT, WIDTH)
            counted = [int(np.count_nonzero(mask == label)) for label in (0, 1, 2)]
            assert [row["background_px"], row["septum_px"], row["heart_px"]] == counted
        else:
            assert row["frame"] is None
            assert row["chd_probability"] is None


class OverflowingModel(PlainModel):
    """A model that returns NaN for bright images, like a network whose sums overflow."""

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        prediction = super().predict(images_bhwc_u8, reference_bhw_u8)
        prediction.chd_probability_b_f32[prediction.chd_probability_b_f32 > 0.9] = np.nan
        return prediction


def test_no_number_is_a_failure_and_never_a_normal_heart(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a/1.png": png(250), "a/2.png": png(100)})
    (summary,) = run.score_all(OverflowingModel(4))
    assert (summary.n_ok, summary.failures) == (1, {"not_finite": 1})
    failed, *_ = [row for row in run.rows() if row["status"] == "failed"]
    assert (failed["frame"], failed["chd_probability"], failed["chd_call"]) == (0, None, None)


def test_batches_are_fixed_positions_with_zeros_for_failures_and_beyond_the_end(tmp_path: Path) -> None:
    run, model = make_run(tmp_path, FILES), PlainModel(4)
    run.score_all(model)
    expected = [0 if row["status"] == "failed" else round(row["chd_probability"] * 255) for row in run.rows()]
    expected += [0] * (-len(expected) % 4)
    fed = [int(image[0, 0, 0]) for batch in model.batches for image in batch]
    assert fed == [
        value for k in range(0, len(expected), 4) for value in expected[k : k + 4] if any(expected[k : k + 4])
    ]


def test_threads_isolation_and_attempts_leave_no_trace_in_the_bytes(tmp_path: Path) -> None:
    first = make_run(tmp_path, FILES, name="first")
    first.score_all(decoder_threads=1)
    second = make_run(tmp_path, FILES, name="second")
    _die(second, isolated=False)
    second.score_all(decoder_threads=4)
    assert second.score_bytes() == first.score_bytes()
    assert _attempts(second)[-1]["isolated"]


def test_shards_scored_at_the_same_time_take_turns_at_the_model(tmp_path: Path) -> None:
    class OneAtATime(PlainModel):
        busy = threading.Lock()

        def predict(self, *arguments: Any) -> Prediction:
            assert self.busy.acquire(blocking=False), "two predictions at once"
            try:
                return super().predict(*arguments)
            finally:
                self.busy.release()

    first = make_run(tmp_path, FILES, name="first", images_per_shard=2)
    first.score_all()
    second = make_run(tmp_path, FILES, name="second", images_per_shard=2)
    scorer = second.scorer(OneAtATime(4))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(scorer.score, second.plan.shards()))
    assert second.score_bytes() == first.score_bytes()
    assert scorer.images_done == {}


def test_a_committed_shard_is_left_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    run.score_all()
    before, model = run.score_bytes(), PlainModel(4)
    (summary,) = run.score_all(model)
    assert not summary.committed
    assert model.batches == []
    assert run.score_bytes() == before


def test_of_two_workers_on_one_shard_one_commits(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    (reference,) = run.plan.shards()
    barrier = threading.Barrier(2)

    class Together(PlainModel):
        def predict(self, *arguments: Any) -> Prediction:
            if not self.batches:
                barrier.wait(20)
            return super().predict(*arguments)

    with ThreadPoolExecutor(2) as pool:
        scorers = [run.scorer(Together(4)) for _ in range(2)]
        summaries = [future.result() for future in [pool.submit(scorer.score, reference) for scorer in scorers]]
    assert sorted(summary.committed for summary in summaries) == [False, True]
    assert len(run.rows()) == 17


def test_a_long_cine_is_decoded_as_it_is_scored(tmp_path: Path) -> None:
    """Memory must not depend on the number of frames, so the decoder stays only a few frames ahead of the model."""
    run = make_run(tmp_path, {"study/cine.tif": tiff([n % 250 for n in range(120)])})
    ahead = []

    class Watching(PlainModel):
        def predict(self, *arguments: Any) -> Prediction:
            ahead.append(decoded[0] - 4 * len(self.batches))
            return super().predict(*arguments)

    decoded = [0]
    original = InProcessDecoder.frame

    def counting(self: Any, index: int) -> Any:
        decoded[0] += 1
        return original(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcessDecoder, "frame", counting)
        run.score_all(Watching(4))
    assert decoded == [120]
    assert max(ahead) < 4 + 6


def _worker(node: str) -> Worker:
    return replace(Worker.this_process(), worker=f"dead-{node}", boot=f"boot of {node}", node=node)


def _die(run: MadeRun, *, isolated: bool, times: int = 1, nodes: Sequence[str] = ("node-a",), batch: int = 1) -> None:
    for _ in range(times):
        for node in nodes:
            log = run.attempts_of(_worker(node))
            attempt = log.open(0, isolated=isolated)
            if isolated:
                log.note_batch(attempt, batch)


def _attempts(run: MadeRun) -> list[dict[str, Any]]:
    import json

    prefix = output_layout.attempts_prefix("run", 0)
    keys = sorted(info.key for info in run.private.list(prefix) if info.key.endswith(".open.json"))
    return [json.loads(run.private.read(key)) for key in keys]


def test_a_shard_that_kills_isolated_workers_on_two_nodes_is_blamed(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    _die(run, isolated=True, times=2, nodes=("node-a", "node-b"))
    (summary,) = run.score_all()
    assert summary.failures == {"shard_crashed": 13}
    assert {row["frame"] for row in run.rows()} == {None}


def test_on_one_node_the_run_stops_and_names_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    _die(run, isolated=True, times=4)
    with pytest.raises(RunFault, match="node-a"):
        run.score_all()
    assert run.score_bytes() == {}


def test_another_submission_goes_on_after_that(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    _die(run, isolated=True, times=4)
    (summary,) = run.score_all(submission="the next")
    assert summary.n_ok == 14


def test_a_shard_is_not_blamed_for_deaths_at_different_batches(tmp_path: Path) -> None:
    run = make_run(tmp_path, FILES)
    for batch in range(3):
        _die(run, isolated=True, nodes=("node-a", "node-b"), batch=batch)
    (summary,) = run.score_all()
    assert summary.n_ok == 14


@pytest.mark.parametrize("before_the_first_batch", [False, True])
def test_too_many_deaths_at_different_batches_stop_the_run(tmp_path: Path, before_the_first_batch: bool) -> None:
    """This happens, for example, on a node with too little memory. Ray would replace its workers without limit."""
    run = make_run(tmp_path, FILES)
    for batch in range(10):
        for node in ("node-a", "node-b"):
            attempt = run.attempts_of(_worker(node)).open(0, isolated=True)
            if not before_the_first_batch:
                run.attempts_of(_worker(node)).note_batch(attempt, batch)
    with pytest.raises(RunFault, match=r"died 20 times on shard 0.*node-a, node-b"):
        run.score_all()
    assert run.score_bytes() == {}
    (summary,) = run.score_all(submission="the next")
    assert summary.n_ok == 14


def test_a_fault_of_storage_commits_nothing_and_closes_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, FILES)

    def gone(*arguments: Any, **named: Any) -> Never:
        raise StorageFault("the endpoint is gone")

    monkeypatch.setattr(shard_module, "commit_shard", gone)
    with pytest.raises(StorageFault, match="endpoint"):
        run.score_all()
    assert run.score_bytes() == {}
    monkeypatch.undo()
    model = PlainModel(4)
    scorer = run.scorer(model)
    (reference,) = run.plan.shards()
    assert scorer.score(reference).n_ok == 14
    assert [attempt["isolated"] for attempt in _attempts(run)] == [False, False]


def test_a_fault_of_the_model_leaves_no_thread_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    run = make_run(tmp_path, FILES)

    class Broken(PlainModel):
        def predict(self, *arguments: Any) -> Never:
            raise RuntimeError("out of device memory")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="device memory"):
        run.score_all(Broken(4))
    assert threading.active_count() <= before
    assert list(temporary.iterdir()) == []
