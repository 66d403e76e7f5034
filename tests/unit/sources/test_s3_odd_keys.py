"""Objects whose keys cannot be addressed below the prefix cost only themselves."""

from typing import Any

import pytest

from diagchd_batch.sources.s3.source import S3Source

ODD = ["/notes.txt", "s1/./notes.txt", "s1/../x.txt", "./x", "..", "s1/.", "//x"]


def listing(source: S3Source, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    contents = [{"Key": key, "Size": 1, "ETag": '"e"'} for key in keys]
    pages: list[dict[str, Any]] = [{"Contents": contents, "IsTruncated": False}]
    monkeypatch.setattr(source._prefix, "list_page", lambda **_: pages[0])
    return [info.key for info in source.list()]


@pytest.mark.parametrize("prefix", ["", "archive/"])
@pytest.mark.parametrize("odd", [[key] for key in ODD] + [ODD])
def test_an_odd_key_is_counted_and_the_others_are_listed(
    monkeypatch: pytest.MonkeyPatch, odd: list[str], prefix: str
) -> None:
    source = S3Source(f"s3://bucket/{prefix}".rstrip("/"))
    good = ["s1/a.png", "s1/b//c.png", "s1/.hidden", "s1/..png"]
    for _ in range(2):
        assert listing(source, [prefix + key for key in [*good, *odd]], monkeypatch) == good
        assert source.listing_gaps() == {"keys_not_addressable": len(odd)}
        assert source.named_gaps() == {"keys_not_addressable": tuple(odd)}
    assert listing(source, [prefix + key for key in good], monkeypatch) == good
    assert source.listing_gaps() == {}
