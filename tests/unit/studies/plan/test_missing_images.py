"""A manifest that does not match the archive is refused before anything is scored, with what would make it match."""

import unicodedata
from pathlib import Path

import pytest

from diagchd_batch.config.job_file import InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.sources import open_source
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import preview_plan
from diagchd_batch.studies.plan.stored_plan import PlanHead

LIMIT = LimitsConfig().max_missing_fraction


def planned(directory: Path, files: list[str], named: list[str], limit: float = LIMIT) -> PlanHead:
    """Plan a manifest that names other files than there are."""
    for name in files:
        (directory / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "archive" / name).write_bytes(b"x")
    rows = [f"s{number},{name}" for number, name in enumerate(named)]
    (directory / "studies.csv").write_text("\n".join(["study_id,uri", *rows]) + "\n", encoding="utf-8")
    config = InputConfig(uri=str(directory / "archive"), layout="manifest", manifest=str(directory / "studies.csv"))
    source, tokens = open_source(config.uri), Pseudonymizer(b"k" * 32)
    return preview_plan(config, ShardsConfig(), source, tokens, max_missing_fraction=limit).head


def names(n: int, pattern: str = "a/{}.png") -> list[str]:
    return [pattern.format(number) for number in range(n)]


@pytest.mark.parametrize(
    ("there", "named", "explanation"),
    [
        ("a/{}.png", "a\\{}.png", "30 of them would be found if backslashes are read as slashes"),
        ("A/{}.PNG", "a/{}.png", "30 of them would be found if letter case is ignored"),
        (
            unicodedata.normalize("NFD", "Müller/{}.png"),
            unicodedata.normalize("NFC", "Müller/{}.png"),
            "30 of them would be found if accents are written alike",
        ),
        ("images/{}.png", "a/{}.png", "30 of them would be found if only the names of the files are compared"),
        ("images/{}.PNG", "a\\{}.png", "30 of them would be found if all of this is done"),
        ("a/{}.png", "other-{}.png", "30 files lie there, and none has one of their names"),
    ],
)
def test_names_that_do_not_match_are_refused_and_explained(
    tmp_path: Path, there: str, named: str, explanation: str
) -> None:
    with pytest.raises(InputError) as refused:
        planned(tmp_path, names(30, there), names(30, named))
    message = str(refused.value)
    assert "input.manifest: 30 of 30 images are not below input.uri" in message
    assert explanation in message and "limits.max_missing_fraction" in message
    assert "The manifest names them in lines (of Parquet: rows) 2, 3, 4, 5, 6 and others." in message
    assert ".png" not in message.lower()


@pytest.mark.parametrize(
    ("n_there", "n_named", "limit", "is_refused"),
    [
        (95, 100, LIMIT, False),
        (94, 100, LIMIT, True),
        (94, 100, 0.1, False),
        (0, 100, 1.0, False),
        (18, 19, LIMIT, False),
        (1, 19, LIMIT, False),
        (0, 19, LIMIT, True),
        (0, 1, LIMIT, True),
        (18, 20, LIMIT, True),
        (30, 30, 0.0, False),
        (29, 30, 0.0, True),
    ],
)
def test_the_limit_is_a_fraction(tmp_path: Path, n_there: int, n_named: int, limit: float, is_refused: bool) -> None:
    files = [*names(n_there), "other.txt"]
    if is_refused:
        with pytest.raises(InputError, match=f"{n_named - n_there} of {n_named} image"):
            planned(tmp_path, files, names(n_named), limit)
    else:
        assert planned(tmp_path, files, names(n_named), limit).n_missing == n_named - n_there
