"""Where the private tree of an output lies, and that whoever reads an output whole does not read it."""

import shutil
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest

from diagchd_batch import output_layout
from diagchd_batch.results import open_output
from tests.unit.results.made_run import MadeRun, make_run

KEPT_V1 = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output"


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    made = make_run(tmp_path)
    private = Path(made.private.uri)
    assert private.name == output_layout.PRIVATE
    assert any(output_layout.SOURCES_FILE.fullmatch(info.key) for info in made.private.list(""))
    return made


def test_a_glob_over_the_whole_output_finds_no_private_table(run: MadeRun) -> None:
    found = duckdb.sql(f"SELECT file FROM glob('{run.storage.uri}/**/*.parquet')").fetchall()
    assert found
    assert not [path for (path,) in found if output_layout.PRIVATE in path]


def test_an_arrow_data_set_of_the_whole_output_has_no_private_file(run: MadeRun) -> None:
    """pandas reads a directory in this way too."""
    found = ds.dataset(run.storage.uri, format="parquet", exclude_invalid_files=True).files
    assert found
    assert not [path for path in found if output_layout.PRIVATE in path]


def test_an_output_of_version_1_keeps_the_name_of_its_private_tree(tmp_path: Path) -> None:
    shutil.copytree(KEPT_V1, tmp_path / "kept")
    (tmp_path / "foreign" / "private").mkdir(parents=True)  # Nothing there is ours.
    for name, private in (("kept", "private"), ("new", "_private"), ("foreign", "_private")):
        assert open_output(str(tmp_path / name)).private.uri == str(tmp_path / name / private)
