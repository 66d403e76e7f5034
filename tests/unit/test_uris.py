from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.errors import ConfigError
from diagchd_batch.storage import open_store
from diagchd_batch.uris import is_key, join_uri, normalize_uri, start_of
from tests.support.command_line import diagchd_batch


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/archive", "/data/archive"),
        ("/data/archive/", "/data/archive"),
        ("file:///data/archive", "/data/archive"),
        ("file://localhost/data/archive", "/data/archive"),
        ("file:///data/a%20b", "/data/a b"),
        ("file:///data/50%25?#1", "/data/50%?#1"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b//", "s3://bucket/a/b"),
        ("s3://bucket/what?#%20", "s3://bucket/what?#%20"),
    ],
)
def test_one_form_of_a_uri(uri: str, expected: str) -> None:
    assert normalize_uri(uri) == expected


def test_relative_paths_are_taken_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert normalize_uri("out/sample") == str(tmp_path / "out/sample")
    assert normalize_uri("~/archive") == str(tmp_path / "home/archive")
    assert open_store("out").uri == str(tmp_path / "out")


@pytest.mark.parametrize(
    "uri",
    ["", "s3://", "s3:///key", "s3://bucket/../other", "gs://bucket", "s3a://bucket", "file://server/share", "file:a"],
)
def test_what_names_no_storage_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert caught.value.exit_code == 2


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_percent_encoded_file_uri_names_that_file(name: str) -> None:
    path = f"/data/x{name}x"
    assert normalize_uri("file://" + quote(path)) == str(Path(path))


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c", "...", ".x"]), min_size=1, max_size=5).map("/".join))
def test_a_key_never_leads_out_of_the_root(key: str) -> None:
    escapes = key.startswith("/") or not key or any(part in ("..", ".") for part in key.split("/"))
    assert is_key(key) == (not escapes and not key.endswith("/"))
    if is_key(key):
        assert Path(join_uri("/root/of/all", key)).resolve().is_relative_to("/root/of/all")
    elif escapes:
        with pytest.raises(ValueError, match="relative key"):
            join_uri("s3://bucket/prefix", key)


@pytest.mark.parametrize("uri", ["s3://my bucket/x", "s3://bücket/x", "s3://a,b/x", "s3://a*/x", "s3://{bucket}/x"])
def test_a_bucket_that_cannot_be_is_refused_with_what_is_allowed(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"is no name of an S3 bucket.* write s3://bucket"):
        normalize_uri(uri)


@pytest.mark.parametrize(
    "uri", ["s3://my-bucket/a prefix", "s3://Old_Bucket.1/x", "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/x"]
)
def test_a_bucket_that_some_server_allows_is_taken(uri: str) -> None:
    assert normalize_uri(uri) == uri


@pytest.mark.parametrize("absolute", ["/data/x", "s3://bucket/x", "file:///data/x", "~/x"])
def test_a_message_says_where_a_relative_path_starts(
    absolute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start_of("data/x") == f" (below the working directory {tmp_path})"
    assert start_of(absolute) == ""


@pytest.mark.parametrize(
    "job, told",
    [
        (None, "job file job.yaml (below the working directory {}) cannot be read"),
        ("model: {name: my/package}", "no directory 'my/package' (below the working directory {}), which model.name"),
        ("model: {name: diagchd, weights: my.h5}", "there is no file my.h5 (below the working directory {})"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_the_working_directory(
    job: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive").mkdir()
    if job is not None:
        Path("job.yaml").write_text(
            f"{{version: 1, input: {{uri: archive, layout: tree}}, output: {{uri: out}}, {job}}}"
        )
    done = diagchd_batch("plan", "job.yaml", "--no-measure")
    assert done.exit_code == 2 and told.format(tmp_path) in done.messages
