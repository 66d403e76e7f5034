"""No table outside the private tree has an identifier. Only the private tree maps tokens to identifiers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy


def identified(made: MadeOutput, evaluate: Callable[..., EvaluationSummary], **config: Any) -> EvaluationSummary:
    studies = [
        MadeStudy(f"CANARY-study-{i}", [[0.3 + 0.4 * (i % 2)]], i % 2, subject_id=f"CANARY-subject-{i // 2}")
        for i in range(12)
    ]
    studies.append(MadeStudy("CANARY-out", [], 1, exclude_reason="asked Dr CANARY"))
    made.write_run(studies)
    reads = [
        {
            "study_id": study.study_id,
            "reader": f"CANARY-reader-{reader}",
            "session": "CANARY-session",
            "arm": "CANARY-arm",
            "status": "read",
            "call": (i + reader) % 2,
        }
        for i, study in enumerate(studies)
        for reader in range(2)
    ]
    reads.append({**reads[0], "study_id": "CANARY-nobody"})
    reference = [
        {
            "study_id": study.study_id,
            "label": study.label,
            "diagnosis": f"CANARY-lesion-{study.label}",
            "method": "CANARY",
        }
        for study in studies
    ]
    covariates = [
        {
            "study_id": study.study_id,
            "site": f"CANARY-site-{i % 3}",
            "CANARY-name": i,
            "gestational_age": f"2{i % 10}+1",
        }
        for i, study in enumerate(studies)
    ]
    return evaluate(
        made,
        readers=made.table("readers", reads),
        reference=made.table("reference", reference),
        covariates=made.table("covariates", covariates),
        **config,
    )


def test_no_identifier_leaves_the_private_tree(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    summary = identified(made, evaluate)
    assert "CANARY" not in str(summary)
    for path in Path(made.output.uri).rglob("*"):
        if path.is_file() and output_layout.PRIVATE not in path.relative_to(made.output.uri).parts:
            content = path.read_bytes()
            assert b"CANARY" not in content, path
            if path.suffix == ".parquet":
                assert "CANARY" not in str(pq.read_table(path, partitioning=None).to_pylist()), path
    shown = {row["level"] for row in made.metrics("estimates") if row["covariate"] == "site"}
    assert shown == {"site level 1", "site level 2", "site level 3"}


def test_what_stands_for_what_is_kept_in_the_private_tree(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    identified(made, evaluate)
    path = Path(made.private.uri) / output_layout.private_evaluation_file(RUN_ID, "names")
    names = {
        (row["kind"], row["own_name"]): row["name_in_tables"]
        for row in pq.read_table(path, partitioning=None).to_pylist()
    }
    assert names["reader", "CANARY-reader-0"] == made.tokens.reader("CANARY-reader-0")
    levels = [names["site level", f"CANARY-site-{i}"] for i in range(3)]
    assert sorted(levels) == ["site level 1", "site level 2", "site level 3"]
    assert names["reason", "asked Dr CANARY"] == "reason 1"


def test_disclose_shows_own_names_but_never_studies(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    identified(made, evaluate, disclose=True)
    estimates = made.metrics("estimates")
    assert {row["subject"] for row in estimates if row["subject_kind"] == "reader"} == {
        "CANARY-reader-0",
        "CANARY-reader-1",
    }
    assert {row["level"] for row in estimates if row["covariate"] == "site"} == {f"CANARY-site-{i}" for i in range(3)}
    for name in ("study_results", "reads", "worst_cases"):
        assert "CANARY-study" not in str(made.metrics(name))
