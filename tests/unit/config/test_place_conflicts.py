"""An output among the images that a layout takes is refused."""

import pytest
import yaml

from diagchd_batch.config.models import JobConfig
from diagchd_batch.config.place_conflicts import refuse_output_in_input
from diagchd_batch.errors import ConfigError
from tests.support.command_line import diagchd_batch


def _job(inner: str, outer: str, layout: str = "tree", private: str | None = None) -> JobConfig:
    table = {"manifest": "studies.csv"} if layout == "manifest" else {}
    return JobConfig.model_validate(
        {"input": {"uri": outer, "layout": layout, **table}, "output": {"uri": inner, "private_uri": private}}
    )


@pytest.mark.parametrize("layout", ["tree", "diagchd"])
@pytest.mark.parametrize(
    ("inner", "outer"),
    [("/a/b", "/a"), ("/a", "/a/"), ("/a/x/../b/", "file:///a"), ("s3://bucket/a/out", "s3://bucket/a"), ("/a", "/")],
)
def test_an_output_in_the_input_is_refused(inner, outer, layout) -> None:
    with pytest.raises(
        ConfigError, match=rf"output\.uri .* lies in input\.uri .* layout {layout}.*Put the output elsewhere"
    ):
        refuse_output_in_input(_job(inner, outer, layout))
    with pytest.raises(ConfigError, match=r"output\.private_uri"):
        refuse_output_in_input(_job("/elsewhere" if outer != "/" else "s3://b", outer, layout, private=inner))


@pytest.mark.parametrize(
    ("inner", "outer", "layout"),
    [("/a/b", "/a", "manifest"), ("/ab", "/a", "tree"), ("/a", "/a/b", "tree"), ("s3://b/ab", "s3://b/a", "tree")],
)
def test_others_are_taken(inner, outer, layout) -> None:
    refuse_output_in_input(_job(inner, outer, layout))


def test_by_way_of_a_link_too(tmp_path) -> None:
    (tmp_path / "input" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "input" / "out")
    with pytest.raises(ConfigError):
        refuse_output_in_input(_job(str(tmp_path / "link"), str(tmp_path / "input")))


@pytest.mark.parametrize("command", [("plan",), ("submit",), ("config", "validate")], ids=" ".join)
def test_commands_end_with_2_and_write_nothing(command, tmp_path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    job = {
        "version": 1,
        "input": {"uri": str(archive), "layout": "tree"},
        "model": {"name": "diagchd-compact", "weights": "seed:0"},
        "output": {"uri": str(archive / "out")},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    done = diagchd_batch(*command, str(tmp_path / "job.yaml"))
    assert done.exit_code == 2 and "lies in input.uri" in done.messages
    assert list(archive.iterdir()) == []
