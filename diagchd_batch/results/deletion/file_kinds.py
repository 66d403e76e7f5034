"""What each file of an output is, judged by its key: for whoever goes over every file, as a deletion does."""

from typing import Literal

from diagchd_batch.output_layout import (
    AUGMENTATION_PREVIEW_FILE,
    COMPARISONS_PREFIX,
    DELETION_PREFIX,
    HEADER_INDEX_PREFIX,
    ID_KEY,
    ID_KEY_CHECK,
    IDENTIFYING_VALUES_FILE,
    INPUT_ROOT,
    METRICS_PREFIX,
    PLAN_DETAILS_FILE,
    RUN_DIRECTORY,
    RUN_RECORD,
    RUNS_PREFIX,
    SOURCES_FILE,
    TRAINING_CACHE_PREFIX,
    TRAINING_TREE_PREFIX,
    patterns,
)

OutputFileKind = Literal["derived", "table", "run_record", "other", "unknown"]
PrivateFileKind = Literal[
    "derived", "temporary", "plan", "plan_head", "table", "text", "run_record", "submission", "other", "unknown"
]

_DERIVED_PREFIXES = (METRICS_PREFIX, COMPARISONS_PREFIX, "reports/")
_PRIVATE_RUN_FILES: dict[str, PrivateFileKind] = {
    "evaluation": "derived",
    "worklist": "derived",
    "plan": "plan",
    "plan.json": "plan_head",
    "logs": "text",
    "faults": "text",
    "run.json": "run_record",
    **dict.fromkeys(("attempts", "heartbeats", "nodes", "stop"), "submission"),
    **dict.fromkeys(("exports", "identity.json", "kept_digests.json", "training"), "other"),
}
_OTHER_PRIVATE_FILES = (ID_KEY, ID_KEY_CHECK, INPUT_ROOT, DELETION_PREFIX, HEADER_INDEX_PREFIX, "submitted/")


def kind_of_output_file(key: str) -> OutputFileKind:
    """Return what a file of the output's public tree is.

    Args:
        key: The file's key.

    Returns:
        ``derived``: metrics, comparisons and reports; ``table``: another Parquet table; ``unknown``: no file that this
        program writes.
    """
    if key.startswith(_DERIVED_PREFIXES):
        return "derived"
    if RUN_RECORD.fullmatch(key):
        return "run_record"
    if not any(pattern.fullmatch(key) for pattern in patterns()):
        return "other" if key.startswith(RUNS_PREFIX) else "unknown"
    return "table" if key.endswith(".parquet") else "other"


def kind_of_private_file(key: str) -> PrivateFileKind:
    """Return what a file of the private tree is.

    Args:
        key: The file's key.

    Returns:
        ``derived``: galleries, worklists and tables of `evaluate`; ``temporary``: decoded training images, their
        preview and the details of a plan, which are made again when they are needed; ``table``: what attempts at
        shards recorded; ``text``: logs and tracebacks; ``submission``: what only a submission needs
        while it lives; ``unknown``: no file that this program writes.
    """
    key = key.removeprefix(TRAINING_TREE_PREFIX)  # trainings have a tree of the same layout
    if SOURCES_FILE.fullmatch(key) or IDENTIFYING_VALUES_FILE.fullmatch(key):
        return "table"
    if key.startswith(_DERIVED_PREFIXES):
        return "derived"
    if key.startswith(TRAINING_CACHE_PREFIX) or key in (AUGMENTATION_PREVIEW_FILE, PLAN_DETAILS_FILE):
        return "temporary"
    if key.startswith("faults/"):
        return "text"
    if (match := RUN_DIRECTORY.fullmatch(key)) and match["prefix"] == RUNS_PREFIX:
        return _PRIVATE_RUN_FILES.get(key.split("/")[2], "unknown")
    return "other" if key.startswith(_OTHER_PRIVATE_FILES) else "unknown"
