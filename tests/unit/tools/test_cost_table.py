"""Costs agree with calculations by hand, and the page's table with its own command."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.storage import open_store
from tests.unit.results.made_run import METADATA, RUN_ID, make_run, run_record
from tools.cost_table import (
    BEGIN,
    END,
    Machines,
    estimate,
    measured_images_per_s,
    parse,
    report,
    stored_bytes_per_image,
    table,
    write_between_markers,
)

ROOT = Path(__file__).parents[3]


def test_worked_example() -> None:
    """100,000 images at 10 images/s take 10,000 s on one worker, and the worker takes half an hour to start."""
    machines = Machines(images_per_s=10, price_per_hour=2.0, head_price_per_hour=0.5, start_minutes=30)
    one = estimate(100_000, 1, machines)
    assert one.hours == pytest.approx(0.5 + 10_000 / 3600)
    assert one.cost == pytest.approx(one.hours * 2.5)
    four = estimate(100_000, 4, machines)
    assert four.hours == pytest.approx(0.5 + 2_500 / 3600)
    assert four.machine_hours == pytest.approx(4 * four.hours)
    assert four.cost == pytest.approx(4 * four.hours * 2 + four.hours * 0.5)


def test_no_more_workers_than_shards() -> None:
    machines = Machines(images_per_s=10, price_per_hour=None, head_price_per_hour=0, start_minutes=0)
    assert estimate(1_000, 64, machines).n_workers == 4  # shards of 256
    assert estimate(1_000, 64, machines).cost is None


@given(
    n_images=st.integers(1, 10**8),
    n_workers=st.integers(1, 500),
    speed=st.floats(0.1, 1e4),
    start=st.floats(0, 60),
)
def test_more_workers_are_never_slower_and_never_cheaper_in_machine_hours(
    n_images: int, n_workers: int, speed: float, start: float
) -> None:
    machines = Machines(speed, 1.0, 0.0, start)
    fewer, more = estimate(n_images, n_workers, machines), estimate(n_images, n_workers + 1, machines)
    assert more.hours <= fewer.hours * (1 + 1e-9)
    assert more.machine_hours >= fewer.machine_hours * (1 - 1e-9)


@pytest.mark.parametrize(
    "document",
    [{"images_per_s": 12.5}, {"images_per_s": {"end_to_end": 12.5, "model": 14}}, {"end_to_end": 12.5, "model": 14}],
)
def test_speed_is_end_to_end(document: dict[str, Any]) -> None:
    assert measured_images_per_s(document) == 12.5


@pytest.mark.parametrize("document", [{}, {"images_per_s": None}, {"images_per_s": 0}, {"model": 14}])
def test_a_document_without_a_speed_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no end-to-end images/s"):
        measured_images_per_s(document)


def test_space_is_all_that_the_output_holds_by_the_images_of_its_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    counts = compact_predictions(run.storage, RUN_ID, METADATA)
    write_run_record(run.storage, run.private, run_record(run.plan, counts=counts))
    size_bytes = sum(path.stat().st_size for path in (tmp_path / "output").rglob("*") if path.is_file())
    assert counts.n_images > 0
    assert stored_bytes_per_image(run.storage) == pytest.approx(size_bytes / counts.n_images)


def test_output_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores").write_bytes(b"x")
    with pytest.raises(ValueError, match="no finished run"):
        stored_bytes_per_image(open_store(str(tmp_path)))


def test_table_leaves_out_what_is_not_known() -> None:
    machines = Machines(images_per_s=10, price_per_hour=None, head_price_per_hour=0, start_minutes=0)
    plain = table([estimate(100_000, 1, machines)], None)
    assert "cost" not in plain and "GB" not in plain
    assert table([estimate(100_000, 1, machines)], 5_000).splitlines()[-1] == "| 100,000 | 1 | 2.8 | 2.8 | 0.5 |"


def test_workers_that_measured_together_are_shared_out(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"images_per_s": 40.0, "devices": ["GPU x", "GPU x"]}))
    command = [str(tmp_path / "run.json"), "--measured-workers", "4"]
    assert "10.0 images/s a worker (GPU x)" in report(parse(command), command)


def test_writing_keeps_the_rest_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_markers(page, "new")
    write_between_markers(page, "newer")
    assert page.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="has no"):
        write_between_markers(page, "new")


def test_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{}")
    command = [sys.executable, "-m", "tools.cost_table", str(tmp_path / "bench.json")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "cost_table: neither a report" in result.stderr


def test_table_of_the_page_is_what_its_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is not edited by hand. If nothing has been measured yet, there is no table."""
    block = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()
    if not block:
        pytest.skip("no measurement has been written into docs/operations.md")
    monkeypatch.chdir(ROOT)
    _, _, _, *command = shlex.split(block.splitlines()[0].strip("`"))
    assert report(parse(command), command) == block
