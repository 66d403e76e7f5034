"""`models` lists, shows, checks and copies packages, and refuses what is not whole."""

import json
from pathlib import Path

import pytest

from diagchd_batch.errors import UsageError, WeightsError
from diagchd_batch.runs.models import check_model, copy_model, list_models, show_model
from tests.support.command_line import diagchd_batch
from tests.unit.model.packages.made_package import CHECKPOINT, make_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return make_package(tmp_path / "mine")


def test_the_bundled_models_are_listed_with_and_without_weights() -> None:
    listed = {model.location: model for model in list_models()}
    assert len(listed["diagchd"].card.weights_files) == 0
    assert len(listed["diagchd-compact"].card.weights_files) == 1


def test_a_package_is_shown_with_the_digests_of_its_files(package: Path) -> None:
    details = show_model(str(package))
    assert [file.name for file in details.files] == ["card.json", CHECKPOINT]
    assert details.files[1].sha256 == details.card.weights_files[0].sha256
    ended = diagchd_batch("models", "show", str(package), "--json")
    assert ended.exit_code == 0
    assert json.loads(ended.printed)["card"]["name"] == "own-model"


def test_a_card_controls_no_terminal(tmp_path: Path) -> None:
    package = make_package(tmp_path / "mine", description="\x1b[2Jgone")
    for command in ("list", "show"):
        assert "\x1b" not in diagchd_batch("models", command, str(package)).printed


def test_a_damaged_package_fails_the_check_and_names_the_file(package: Path) -> None:
    (package / CHECKPOINT).write_bytes(b"cut short")
    problems = {check.what: check.problem for check in check_model(str(package)) if check.problem}
    assert "are not those of its card" in problems[CHECKPOINT]
    ended = diagchd_batch("models", "check", str(package))
    assert ended.exit_code == 1
    assert CHECKPOINT in ended.printed


def test_a_package_without_weights_fails_the_check() -> None:
    assert [check.problem for check in check_model("diagchd")] == ["", "the package holds none"]


@pytest.mark.slow
def test_the_bundled_weights_pass_the_check() -> None:
    checks = check_model("diagchd-compact")
    assert [check.what for check in checks][-1] == "member 0 loads"
    assert not any(check.problem for check in checks)


def test_a_copy_is_the_same_package_and_a_second_copy_changes_nothing(package: Path, tmp_path: Path) -> None:
    (package / "evaluation.json").write_text("{}")
    (package / "notes.txt").write_text("about patients")
    destination = tmp_path / "copies" / "one"
    copied = copy_model(str(package), str(destination))
    assert copied.files == show_model(str(package)).files
    assert {path.name for path in destination.rglob("*") if path.is_file()} == {
        "card.json", "evaluation.json", "fold-0.h5",
    }  # fmt: skip
    assert copy_model(str(package), str(destination)) == copied


def test_nothing_is_copied_into_a_directory_with_other_files(package: Path, tmp_path: Path) -> None:
    destination = tmp_path / "full"
    destination.mkdir()
    (destination / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 1 other file, such as thesis\.txt"):
        copy_model(str(package), str(destination))
    other = make_package(tmp_path / "other", name="other-model")
    copy_model(str(package), str(tmp_path / "copy"))
    with pytest.raises(UsageError, match=r"card\.json in .* is not the package's"):
        copy_model(str(other), str(tmp_path / "copy"))


def test_a_damaged_package_is_not_copied(package: Path, tmp_path: Path) -> None:
    (package / CHECKPOINT).write_bytes(b"cut short")
    with pytest.raises(WeightsError, match="are not those of its card"):
        copy_model(str(package), str(tmp_path / "copy"))
    assert not (tmp_path / "copy" / "card.json").exists()
