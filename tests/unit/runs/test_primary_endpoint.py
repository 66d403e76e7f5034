"""A primary comparison that cannot be made is refused before anything is scored."""

from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.runs.plan import read_evaluation_files


def job(directory: Path, primary: dict[str, Any], *, readers: bool = True) -> JobConfig:
    (directory / "readers.csv").write_text("study_id,reader,status,call\na,Dr One,read,1\n")
    evaluation = {"primary": primary, **({"readers": str(directory / "readers.csv")} if readers else {})}
    return JobConfig.model_validate(
        {
            "input": {"uri": str(directory / "archive"), "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0"},
            "output": {"uri": str(directory / "out")},
            "evaluation": evaluation,
        }
    )


@pytest.mark.parametrize("comparator", ["readers_mean", "majority", "Dr One"])
@pytest.mark.parametrize("endpoint", ["roc_auc", "sensitivity", "balanced_accuracy"])
def test_a_comparison_that_can_be_made_is_accepted(tmp_path: Path, endpoint: str, comparator: str) -> None:
    assert list(read_evaluation_files(job(tmp_path, {"endpoint": endpoint, "comparator": comparator}))) == ["readers"]


@pytest.mark.parametrize(
    ("primary", "readers", "message"),
    [
        ({"endpoint": "auc", "comparator": "majority"}, True, "endpoint is none of roc_auc, sensitivity, specificity"),
        ({"endpoint": "roc_auc", "comparator": "Dr Two"}, True, "neither readers_mean nor majority"),
        ({"endpoint": "roc_auc", "comparator": "majority"}, False, "name their table in evaluation.readers"),
    ],
)
def test_another_is_refused(tmp_path: Path, primary: dict[str, Any], readers: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        read_evaluation_files(job(tmp_path, primary, readers=readers))
    assert "Dr" not in str(refused.value)
