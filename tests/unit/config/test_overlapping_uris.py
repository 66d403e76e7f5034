"""An output below the images, and a private tree below the tables or the images, are refused."""

from pathlib import Path

import pytest
import yaml

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
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
def test_an_output_in_the_input_is_refused(inner: str, outer: str, layout: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"output\.uri .* lies in input\.uri .* layout {layout}.*Put the output elsewhere"
    ):
        refuse_overlapping_places(_job(inner, outer, layout))
    with pytest.raises(ConfigError, match=r"output\.private_uri"):
        refuse_overlapping_places(_job("/elsewhere" if outer != "/" else "s3://b", outer, layout, private=inner))


@pytest.mark.parametrize("setting", ["input.uri", "input.manifest", "evaluation.reference", "evaluation.readers"])
def test_an_address_with_a_password_is_refused_before_the_output_is_contacted(setting: str) -> None:
    block, name = setting.split(".")
    config = _job("s3://bucket/out", "s3://bucket/in", "manifest").model_dump()
    config[block][name] = "s3://user:canary@bucket/x"
    with pytest.raises(ConfigError, match="holds a user, a password") as caught:
        refuse_overlapping_places(JobConfig.model_validate(config))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "outer", "layout"),
    [("/a/b", "/a", "manifest"), ("/ab", "/a", "tree"), ("/a", "/a/b", "tree"), ("s3://b/ab", "s3://b/a", "tree")],
)
def test_others_are_taken(inner: str, outer: str, layout: str) -> None:
    refuse_overlapping_places(_job(inner, outer, layout))


@pytest.mark.parametrize(
    ("package", "named"),
    [
        ("/archive/package", r"input\.uri"),
        ("/archive", r"input\.uri"),
        ("/", r"input\.uri"),
        ("/out/scores", r"output\.uri"),
        ("/out/_private/package", r"output\.uri"),
        ("/private", r"output\.private_uri"),
        ("/private/package", r"output\.private_uri"),
    ],
)
def test_a_model_package_among_patients_data_is_refused(package: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"training\.package_uri .* and {named} .* lie in each other"):
        refuse_overlapping_places(_training_job(package))


def test_a_model_package_apart_from_them_is_taken() -> None:
    refuse_overlapping_places(_training_job("/packages/mine"))
    refuse_overlapping_places(_training_job("s3://models/mine"))
    refuse_overlapping_places(_training_job("/archive/package", "manifest"))
    with pytest.raises(ConfigError, match=r"training\.package_uri"):
        refuse_overlapping_places(_training_job("/archive", "manifest"))


def _training_job(package: str, layout: str = "tree") -> JobConfig:
    job = _job("/out", "/archive", layout, private="/private").model_dump(exclude_none=True)
    return JobConfig.model_validate({**job, "training": {"package_uri": package, "preset": "quick"}})


def test_by_way_of_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "input" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "input" / "out")
    with pytest.raises(ConfigError):
        refuse_overlapping_places(_job(str(tmp_path / "link"), str(tmp_path / "input")))


@pytest.mark.parametrize("command", [("plan",), ("submit",), ("config", "validate")], ids=" ".join)
def test_commands_end_with_2_and_write_nothing(command: tuple[str, ...], tmp_path: Path) -> None:
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


PLACES = (
    "out",
    "out/",
    "out/scores",
    "out/scores/",
    "out/metrics/x",
    "out/runs",
    "out/_private/deeper",
    "out/x/../runs",
)


@pytest.mark.parametrize("place", [*PLACES, "", "archive", "archive/images/p", "link-to-output/scores", "by-link"])
def test_a_private_tree_in_the_output_or_the_archive_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "out" / "scores").mkdir(parents=True)
    (tmp_path / "archive" / "images").mkdir(parents=True)
    (tmp_path / "link-to-output").symlink_to("out")
    (tmp_path / "by-link").symlink_to("archive/images")
    job = _job(f"{tmp_path}/out", f"{tmp_path}/archive", "manifest", private=f"{tmp_path}/{place}")
    with pytest.raises(ConfigError, match=r"output\.private_uri .* lie in each other.*omit output\.private_uri"):
        refuse_overlapping_places(job)


@pytest.mark.parametrize(
    "place",
    ["s3://b/out", "S3://b/out/", "s3://B/out", "s3://b/out/runs", "s3://b/out//runs", "s3://b", "s3://b/in/x"],
)
def test_a_private_tree_in_a_bucket_is_compared_by_whole_parts(place: str) -> None:
    with pytest.raises(ConfigError, match=r"output\.private_uri"):
        refuse_overlapping_places(_job("s3://b/out", "s3://b/in", "manifest", private=place))


@pytest.mark.parametrize(
    ("place", "output"),
    [
        ("out/private", "out"),
        ("out/_private/", "out/"),
        ("out/x/../private", "out"),
        ("out/_private", "out"),
        ("outer", "out"),
        ("out-private", "out"),
        ("s3://b/out/private", "s3://b/out"),
        ("s3://b/outer", "s3://b/out"),
        ("s3://b/ou", "s3://b/out"),
        ("s3://c/out", "s3://b/out"),
    ],
)
def test_the_default_place_and_places_apart_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_overlapping_places(_job(output, "archive", "manifest", private=place))


def test_a_default_private_tree_may_lie_in_the_archive_with_its_output() -> None:
    refuse_overlapping_places(_job("/a/out", "/a", "manifest", private="/a/out/private"))


@pytest.mark.parametrize("command", ["status", "evaluate", "verify", "query"])
def test_commands_on_an_output_refuse_such_a_private_tree_too(command: str, tmp_path: Path) -> None:
    (tmp_path / "out" / "runs" / "run_id=r").mkdir(parents=True)
    words = {"query": ["SELECT 1"]}.get(command, [])
    done = diagchd_batch(command, str(tmp_path / "out"), *words, "--private-uri", str(tmp_path / "out" / "scores"))
    assert done.exit_code == 2 and "output.private_uri" in done.messages
