"""An output belongs to one archive. Another root is refused, and the runs of a moved archive can be continued."""

from dataclasses import replace
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import InputConfig, JobConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.results.output import open_output
from diagchd_batch.runs.plan import preview_job
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.run_identity.archive_binding import (
    InputRoot,
    bind_input_root,
    move_input_root,
    resolve_input_root,
)
from diagchd_batch.scoring.driver.run_identity.identity import input_fields
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome, run_job
from diagchd_batch.storage import open_store
from tests.unit.scoring.driver.test_run_job import OneMachine, Silent, score_here
from tests.unit.scoring.made_inputs import png

MOVED = RunRequest(input_moved=True)


@pytest.fixture(autouse=True)
def workers_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_data, "run_shards", score_here)


def _archive(root: Path, n_studies: int = 3) -> JobConfig:
    """Make an archive whose relative paths do not depend on its root, and return its job."""
    for study in range(n_studies):
        (root / f"study-{study}").mkdir(parents=True)
        (root / f"study-{study}/1.png").write_bytes(png(40 * study))
    return _job(root)


def _job(root: Path) -> JobConfig:
    return JobConfig.model_validate(
        {
            "input": {"uri": str(root), "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0"},
            "output": {"uri": str(root.parent / "out")},
        }
    )


def _submit(config: JobConfig, request: RunRequest = RunRequest()) -> RunOutcome:
    return run_job(config, OneMachine(), Silent(), environ={}, command=["submit"], request=request)


@pytest.mark.parametrize("request_", [RunRequest(), RunRequest(new_run=True), RunRequest(selection="new")])
def test_two_archives_with_equal_relative_paths_do_not_share_an_output(tmp_path: Path, request_: RunRequest) -> None:
    _submit(_archive(tmp_path / "one"))
    another = _archive(tmp_path / "two")
    with pytest.raises(ConfigError, match=r"two patients become one.*--input-moved") as error:
        _submit(another, request_)
    assert error.value.exit_code == 2
    assert str(tmp_path) not in str(error.value)
    with pytest.raises(ConfigError, match="--input-moved"):
        preview_job(another, {})
    assert len(open_output(another.output.uri).runs()) == 1


def test_a_moved_archive_goes_on_where_it_was(tmp_path: Path) -> None:
    first = _submit(_archive(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    moved = _job(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/study-0/2.png").write_bytes(png(200))
    assert preview_job(moved, {}, request=replace(MOVED, selection="new")).builds_on == first.run_id
    second = _submit(moved, replace(MOVED, selection="new"))
    assert second.counts.n_images == 1  # No image is scored twice.
    assert _submit(moved, RunRequest(selection="new")).nothing_selected  # One declaration is enough.
    with pytest.raises(ConfigError, match="--input-moved"):
        _submit(_archive(tmp_path / "one"))


def test_a_moved_archive_repeats_its_finished_run(tmp_path: Path) -> None:
    first = _submit(_archive(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "two")
    again = _submit(_job(tmp_path / "two"), MOVED)
    assert (again.run_id, again.repeated, again.n_new_images) == (first.run_id, True, 0)
    assert _submit(_job(tmp_path / "two")).repeated


def test_an_output_of_a_version_that_recorded_no_root_is_bound_to_that_of_its_newest_run(tmp_path: Path) -> None:
    first = _submit(_archive(tmp_path / "one"))
    recorded = tmp_path / "out/_private" / output_layout.INPUT_ROOT
    recorded.unlink()
    with pytest.raises(ConfigError, match="--input-moved"):
        _submit(_archive(tmp_path / "two"))
    assert _submit(_job(tmp_path / "one")).run_id == first.run_id


def test_a_mistyped_root_that_held_no_image_does_not_bind_the_output(tmp_path: Path) -> None:
    (tmp_path / "mistyped").mkdir()
    with pytest.raises(Exception, match="no image file"):
        _submit(_job(tmp_path / "mistyped"))
    assert _submit(_archive(tmp_path / "one")).exit_code == 0


def test_of_two_drivers_with_two_roots_one_is_refused(tmp_path: Path) -> None:
    output, private = (open_store(str(tmp_path / name)) for name in ("out", "private"))
    roots = [resolve_input_root(output, private, uri, moved=False) for uri in ("/one", "/two")]
    bind_input_root(private, roots[0])
    bind_input_root(private, roots[0])
    with pytest.raises(ConfigError, match="--input-moved"):
        bind_input_root(private, roots[1])


def test_an_archive_may_move_again_and_back(tmp_path: Path) -> None:
    output, private = (open_store(str(tmp_path / name)) for name in ("out", "private"))
    bind_input_root(private, resolve_input_root(output, private, "/one", moved=False))
    for uri in ("/two", "s3://bucket/three", "/one"):
        root = resolve_input_root(output, private, uri, moved=True)
        assert root == InputRoot(first="/one", current=uri)
        move_input_root(private, root)
        assert resolve_input_root(output, private, f"{uri}/", moved=False) == root


def test_a_damaged_root_is_a_fault_of_the_run(tmp_path: Path) -> None:
    output, private = (open_store(str(tmp_path / name)) for name in ("out", "private"))
    private.replace(output_layout.INPUT_ROOT, b"{")
    with pytest.raises(RunFault, match=r"input_root\.json"):
        resolve_input_root(output, private, "/one", moved=False)


def test_other_filters_of_a_pacs_are_another_run_of_the_same_archive(tmp_path: Path) -> None:
    output, private = open_store(str(tmp_path / "out")), open_store(str(tmp_path / "private"), owner_only=True)
    pacs, moved = "dicomweb+https://pacs.example.org/dicom-web", "dicomweb+https://new.example.org/dicom-web"
    bind_input_root(private, resolve_input_root(output, private, f"{pacs}?StudyDate=2023", moved=False))
    assert resolve_input_root(output, private, f"{pacs}?StudyDate=2024", moved=False).first == pacs
    with pytest.raises(ConfigError):
        resolve_input_root(output, private, f"{moved}?StudyDate=2023", moved=False)
    configs = [InputConfig(uri=f"{host}?StudyDate={year}", layout="dicom") for host in (pacs, moved) for year in (3, 4)]
    here_3, here_4, moved_3, moved_4 = (input_fields(config, pacs)["uri"] for config in configs)
    assert (here_3, here_4) == (moved_3, moved_4) == (f"{pacs}?StudyDate=3", f"{pacs}?StudyDate=4")
