"""The links of pages that the site shows elsewhere than the repository does, and the table of the job file's keys."""

import re

import pytest

from diagchd_batch.config.job_file import JobConfig
from tools.docs_site import PAGES, PROJECT, job_file_table, rewrite_links

SITE = {
    **PAGES,
    "docs/operations.md": "operations.md",
    "docs/api/model.md": "api/model.md",
    "examples/a.py": "examples/a.md",
}


@pytest.mark.parametrize(
    ("site_path", "link", "expected"),
    [
        ("index.md", "[o](docs/operations.md#cost)", "[o](operations.md#cost)"),
        ("operations.md", "[d](../deploy/README.md)", "[d](deployment.md)"),
        ("api/model.md", "[o](../operations.md)", "[o](../operations.md)"),
        ("deployment.md", "[o](../docs/operations.md)", "[o](operations.md)"),
        ("examples/index.md", "[a](a.py)", "[a](a.md)"),
        ("index.md", "[licence](LICENSE)", "licence"),
        ("index.md", "[there](https://example.org/a)", "[there](https://example.org/a)"),
        ("index.md", "[below](#below)", "[below](#below)"),
        ("index.md", "[gone](docs/gone.md)", "[gone](docs/gone.md)"),
        ("index.md", "```\n[o](docs/operations.md)\n```", "```\n[o](docs/operations.md)\n```"),
        ("index.md", "![picture](docs/operations.md)", "![picture](docs/operations.md)"),
    ],
)
def test_links_hold_on_the_site(site_path: str, link: str, expected: str) -> None:
    assert rewrite_links(link, site_path, SITE) == expected


def test_every_page_outside_docs_exists() -> None:
    assert all((PROJECT / path).is_file() for path in PAGES)


def test_the_table_has_every_key_of_the_job_file() -> None:
    table = job_file_table()
    keys = set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE))
    assert {name for name in JobConfig.model_fields} <= {key.split(".")[0] for key in keys}
    assert {"version", "input.uri", "cluster.actors.max", "limits.max_failed_fraction"} <= keys
    assert "| `model.precision` | `float32` or `bfloat16` | `float32` |" in table
