"""`delete` leaves nothing of a run or a subject, and nothing else changes without its new digest being recorded."""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.nodes_joining_later import NodeProof
from diagchd_batch.errors import ItemError, RunFault, UsageError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.output_layout import node_proof
from diagchd_batch.results.deletion import apply_changes
from diagchd_batch.results.deletion.records import DeletionJournal, DeletionNote, read_notes
from diagchd_batch.runs.delete import delete
from diagchd_batch.runs.verify import verify
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, Heartbeat, driver_name
from diagchd_batch.storage import Store
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.training.training_record import TrainingRecord, training_tree, write_training_record
from tests.support.command_line import diagchd_batch
from tests.unit.results.made_scored_output import MadeScoredOutput, files

SUBJECT = "Ada-Lovelace"
OF_SUBJECT = ("visit-of-ada-1", "visit-of-ada-2")
STUDIES = [
    (OF_SUBJECT[0], SUBJECT, 3),
    ("study-b", "subject-b", 2),
    ("study-c", "subject-b", 1),
    ("study-d", "", 4),
    ("alone", "subject-e", 1),
    ("excluded-of-ada", SUBJECT, 1),
]


_NOTE_OF_NOTHING = DeletionNote(deleted_on="2026-01-01", kind="subject", run_ids=(), n_rows=0)
_JOURNAL_OF_NOTHING = DeletionJournal(number=0, note=_NOTE_OF_NOTHING, replaced=(), removed=()).to_json()


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> MadeScoredOutput:
    """Two runs, of which the second adds another study of the subject and one of somebody else."""
    made = MadeScoredOutput(tmp_path_factory.mktemp("scored"), list(STUDIES), excluded={"excluded-of-ada"})
    made.broken = {made.file(OF_SUBJECT[0], 1), made.file("study-d", 2)}
    made.run("first")
    made.studies += [(OF_SUBJECT[1], SUBJECT, 2), ("study-f", "subject-f", 1)]
    made.run("second", parent="first")
    _add_derived_files(made)
    assert verify(made.output).ok
    return made


def _add_derived_files(made: MadeScoredOutput) -> None:
    output = made.output
    for run_id in ("first", "second"):
        rows = pa.table({"study_id": [made.tokens.study(OF_SUBJECT[0])], "score": [0.5]})
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        output.storage.replace(output_layout.metrics_file(run_id, "study_results"), buffer.getvalue())
        output.storage.replace(output_layout.report_file(run_id), b"<html>")
        output.private.replace(output_layout.gallery_file(run_id), OF_SUBJECT[0].encode())
        output.private.replace(output_layout.worklist_prefix(run_id) + "worklist.csv", SUBJECT.encode())
        names = io.BytesIO()
        pq.write_table(pa.table({"own_name": [OF_SUBJECT[0]]}), names)
        output.private.replace(output_layout.private_evaluation_file(run_id, "names"), names.getvalue())
    output.storage.replace(output_layout.comparison_file("second", "first", "drift"), b"PAR1")
    log = f"one line\nfile {made.file(OF_SUBJECT[0], 0)} was slow\n{made.tokens.image('x')} stays\n"
    output.private.replace(output_layout.log_part("first", "log", 0), log.encode())
    unused = output_layout.plan_studies("first", "f" * 64)
    plan = open_plan(output.private, "first")
    output.private.replace(unused, output.private.read(output_layout.plan_studies("first", plan.head.digest)))
    leftover = Path(output.private.uri) / "runs" / "run_id=first" / "sources" / ".tmp-0123456789abcdef"
    leftover.write_bytes(SUBJECT.encode())


@pytest.fixture
def made(scored: MadeScoredOutput, tmp_path: Path) -> MadeScoredOutput:
    shutil.copytree(scored.root, tmp_path / "made")
    return MadeScoredOutput(tmp_path / "made", scored.studies, scored.excluded, scored.tokens, scored.broken)


def images_of(made: MadeScoredOutput, *studies: str) -> list[str]:
    named = [(study, n_images) for study, _, n_images in made.studies if study in studies]
    return [made.file(study, number) for study, n_images in named for number in range(n_images)]


def traces(made: MadeScoredOutput) -> list[bytes]:
    """Return all by which the subject could be recognised: names, tokens, file names and masks."""
    own = [SUBJECT, *OF_SUBJECT, "excluded-of-ada"]
    images = images_of(made, *OF_SUBJECT)
    tokens = [
        made.tokens.subject(SUBJECT),
        *map(made.tokens.study, own[1:]),
        *map(made.tokens.image, images),
    ]
    rows = made.output.scores().to_table(columns=["image_id", "mask_png"]).to_pylist()
    masks = [row["mask_png"] for row in rows if row["image_id"] in tokens and row["mask_png"]]
    assert len(masks) == 4
    return [*(text.encode() for text in (*own, *images, *tokens)), *masks]


def cells(table: pa.Table) -> Iterator[bytes]:
    for column in table.columns:
        for value in column.to_pylist():
            yield value if isinstance(value, bytes) else repr(value).encode()


def everything(content: bytes) -> bytes:
    """Return a file's bytes and, for a table, all its cells, its metadata and its statistics."""
    try:
        with pq.ParquetFile(io.BytesIO(content), pre_buffer=False) as file:
            parts = [content, *cells(file.read(use_threads=False)), repr(file.schema_arrow.metadata).encode()]
            for group in range(file.num_row_groups):
                for number in range(file.metadata.num_columns):
                    parts.append(repr(file.metadata.row_group(group).column(number).statistics).encode())
            return b"\n".join(parts)
    except pa.ArrowException:
        return content


def test_nothing_of_the_subject_is_left_and_verify_accepts_the_output(made: MadeScoredOutput) -> None:
    searched = traces(made)
    before = files(made.uri)
    assert all(any(trace in everything(content) for content in before.values()) for trace in searched)
    rows_before = _rows(made)
    tokens = {made.tokens.subject(SUBJECT)}

    ended = diagchd_batch("delete", made.uri, "--subject", SUBJECT, "--yes")

    assert ended.exit_code == 0, ended.messages
    after = files(made.uri)
    for path, content in after.items():
        found = [trace for trace in searched if trace in everything(content) or trace in path.encode()]
        assert not found, path
    assert _rows(made) == [row for row in rows_before if row["subject_id"] not in tokens]
    checked = verify(made.output)
    assert checked.ok, [problem for run in checked.runs for problem in run.problems]
    assert {run.run_id: run.counts.n_rows for run in checked.runs if run.counts} == {"first": 8, "second": 1}
    (lineage,) = checked.lineages
    assert (lineage.n_images, lineage.n_rows) == (9, 9)


def _rows(made: MadeScoredOutput) -> list[dict[str, Any]]:
    table = made.output.scores().to_table().to_pylist()
    return sorted(table, key=lambda row: (row["run_id"], row["image_id"]))


def test_other_score_files_stay_and_changed_ones_are_noted_with_both_digests(made: MadeScoredOutput) -> None:
    def digests() -> dict[str, str]:
        keys = [info.key for info in made.output.storage.list(output_layout.SCORES_PREFIX)]
        return {key: hashlib.sha256(made.output.storage.read(key)).hexdigest() for key in keys}

    before = digests()
    answer = delete(made.output, subject=SUBJECT, confirmed=True)
    ((key, note),) = read_notes(made.output.storage)
    assert (note.kind, note.run_ids, note.n_rows) == ("subject", ("first", "second"), 5)
    changed = {output_layout.shard_file(change.run_id, change.shard): change for change in note.shards}
    assert 0 < len(changed) < len(before)
    for name, digest in digests().items():
        assert before[name] == (changed[name].old_sha256 if name in changed else digest)
        assert name not in changed or changed[name].new_sha256 == digest
    assert answer.deletion and answer.deletion.to_evaluate == ("first", "second")
    text = made.output.storage.read(key)
    assert not [trace for trace in (b"Ada", b"ada", b"p-", b"s-", b"i-", b"images/") if trace in text]


def test_derived_files_go_and_lines_of_logs_that_name_the_subject(made: MadeScoredOutput) -> None:
    delete(made.output, subject=made.tokens.subject(SUBJECT), confirmed=True)
    left = set(files(made.uri))
    for name in ("metrics/", "comparisons/", "reports/", "evaluation/", "worklist/", ".tmp-"):
        assert not [path for path in left if name in path], name
    log = made.output.private.read(output_layout.log_part("first", "log", 0)).decode()
    assert log == f"one line\n{made.tokens.image('x')} stays\n"


def test_training_images_and_details_of_a_plan_go_since_one_file_is_of_many_subjects(
    made: MadeScoredOutput,
) -> None:
    private = made.output.private
    cached = [output_layout.training_cache_prefix("0" * 32) + name for name in ("images.u8", "masks.u8", "part.json")]
    cached += [output_layout.AUGMENTATION_PREVIEW_FILE, output_layout.PLAN_DETAILS_FILE]
    for key in cached:
        private.replace(key, made.tokens.study(OF_SUBJECT[0]).encode())
    deletion = delete(made.output, subject=SUBJECT, confirmed=True).deletion
    assert {f"_private/{key}" for key in cached} <= set(deletion.removed)
    assert not list(private.list(output_layout.TRAINING_CACHE_PREFIX))


def test_a_training_with_the_subject_loses_plan_checkpoints_and_pictures_and_its_package_is_named(
    made: MadeScoredOutput,
) -> None:
    private, tree = made.output.private, training_tree(made.output)
    for info in list(private.list(output_layout.private_run("first") + "plan")):
        private.replace(output_layout.TRAINING_TREE_PREFIX + info.key, private.read(info.key))
    gone = [
        output_layout.training_cache_prefix("0" * 32) + "images.u8",
        output_layout.fold_prefix("first", 0) + "checkpoint.npz",
        output_layout.log_part("first", "log", 0),
    ]
    kept = [output_layout.identity_file("first"), output_layout.success_marker("first")]
    for key in (*gone, *kept):
        tree.private.replace(key, b"{}")
    write_training_record(tree, _training_record())
    ended = diagchd_batch("delete", made.uri, "--subject", SUBJECT, "--yes")
    assert ended.exit_code == 0, ended.messages
    assert "model package s3://models/ours were trained with the subject" in " ".join(ended.messages.split())
    left = {info.key for info in tree.private.list()}
    assert left == {*kept, output_layout.run_record("first")}


def _training_record() -> TrainingRecord:
    return TrainingRecord(
        run_id="first",
        status="finished",
        model="ours",
        architecture="diagchd-compact",
        package_uri="s3://models/ours",
        n_studies=3,
        n_subjects=2,
        n_images=5,
        started_at=datetime(2024, 1, 2, tzinfo=UTC),
        full_config={},
        command=[],
    )


def test_without_yes_nothing_changes_and_what_would_go_is_shown(made: MadeScoredOutput) -> None:
    before = files(str(made.root))
    for arguments in (("--subject", SUBJECT), ("--run-id", "second")):
        ended = diagchd_batch("delete", made.uri, *arguments)
        assert ended.exit_code == 2
        assert "would delete" in ended.printed and "--yes" in ended.messages
    assert files(str(made.root)) == before
    listed = [line.strip() for line in ended.printed.splitlines() if line.startswith("  ")]
    assert any(place.startswith("_private/runs/run_id=second/") for place in listed)
    assert all((Path(made.uri) / place).is_file() for place in listed)
    shown = json.loads(diagchd_batch("delete", made.uri, "--subject", SUBJECT, "--json").printed)["deletion"]
    assert (shown["done"], shown["n_studies"], shown["n_images"], shown["n_rows"]) == (False, 3, 5, 5)


def test_a_subject_that_the_manifest_does_not_name_is_told_by_its_study(made: MadeScoredOutput) -> None:
    answer = delete(made.output, subject="study-d", confirmed=True)
    assert answer.deletion and (answer.deletion.n_studies, answer.deletion.n_rows) == (1, 4)
    assert verify(made.output).ok
    assert not [path for path, content in files(made.uri).items() if b"study-d" in everything(content)]


@pytest.mark.slow
def test_all_subjects_can_be_deleted_one_after_the_other(made: MadeScoredOutput) -> None:
    for subject in (SUBJECT, "subject-b", "study-d", "subject-e", "subject-f"):
        delete(made.output, subject=subject, confirmed=True)
        assert verify(made.output).ok
    assert made.output.scores().count_rows() == 0
    assert len(list(read_notes(made.output.storage))) == 5


def test_a_run_is_deleted_after_those_that_continue_it(made: MadeScoredOutput) -> None:
    with pytest.raises(UsageError, match="delete second first"):
        delete(made.output, run_id="first", confirmed=True)
    answer = delete(made.output, run_id="second", confirmed=True)
    assert answer.deletion and answer.deletion.n_rows == 3
    assert not [path for path in files(made.uri) if "run_id=second" in path or "compare_to=second" in path]
    assert verify(made.output).ok
    delete(made.output, run_id="first", confirmed=True)
    left = [path.removeprefix(made.uri) for path in files(made.uri)]
    assert sorted(left) == ["/deletions/deletion-00000.json", "/deletions/deletion-00001.json"]


@pytest.mark.parametrize("arguments", [(), ("--run-id", "first", "--subject", SUBJECT), ("--subject", "nobody")])
def test_what_is_not_named_clearly_is_refused(made: MadeScoredOutput, arguments: tuple[str, ...]) -> None:
    before = files(made.uri)
    ended = diagchd_batch("delete", made.uri, *arguments, "--yes")
    assert ended.exit_code == 2, ended.messages
    assert files(made.uri) == before


def test_a_live_run_is_refused(made: MadeScoredOutput) -> None:
    private = made.output.private
    with (
        Heartbeat(private, "second", driver_name("live"), DriverBeat, dict),
        pytest.raises(RunFault, match="second of this output is being scored"),
    ):
        delete(made.output, subject=SUBJECT, confirmed=True)


def test_a_run_that_begins_while_a_deletion_is_prepared_wins(
    made: MadeScoredOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = made.output.private
    run = Heartbeat(private, "second", driver_name("begins"), DriverBeat, dict)

    def decided_late(output: Any, prepared: Any) -> DeletionJournal:
        run.beat()
        return apply_changes.decide(output, prepared)

    before = made.output.scores().to_table()
    monkeypatch.setattr("diagchd_batch.runs.delete.decide", decided_late)
    with pytest.raises(RunFault, match="second of this output is being scored"):
        delete(made.output, subject=SUBJECT, confirmed=True)
    assert private.stat(output_layout.DELETION_JOURNAL) is None
    assert made.output.scores().to_table() == before
    run.beat(ended=True)
    monkeypatch.undo()
    assert delete(made.output, subject=SUBJECT, confirmed=True).deletion


def test_an_interrupted_deletion_is_not_finished_while_a_run_lives(made: MadeScoredOutput) -> None:
    private = made.output.private
    private.replace(output_layout.DELETION_JOURNAL, _JOURNAL_OF_NOTHING)
    run = Heartbeat(private, "second", driver_name("lives"), DriverBeat, dict)
    run.beat()
    with pytest.raises(RunFault, match="second of this output is being scored"):
        delete(made.output, confirmed=True)
    run.beat(ended=True)
    assert delete(made.output, confirmed=True).finished_earlier


def test_what_a_killed_submission_left_goes_if_it_names_the_subject(made: MadeScoredOutput) -> None:
    private = made.output.private
    of_subject, of_another = made.file(OF_SUBJECT[0], 0), made.file("study-b", 0)
    NodeProof(versions={}, input_keys=[of_another, of_subject]).write(private, node_proof("first", "killed"))
    NodeProof(versions={}, input_keys=[of_another]).write(private, node_proof("first", "another"))
    attempt = output_layout.attempts_prefix("first") + "of-killed"
    private.replace(attempt, of_subject.encode())
    deletion = delete(made.output, subject=SUBJECT, confirmed=True).deletion
    assert deletion is not None
    assert {f"_private/{key}" for key in (node_proof("first", "killed"), attempt)} <= set(deletion.removed)
    assert private.stat(node_proof("first", "killed")) is None
    assert private.stat(node_proof("first", "another")) is not None
    assert verify(made.output).ok


def test_files_that_are_not_ours_are_searched(made: MadeScoredOutput) -> None:
    (Path(made.uri) / "notes.txt").write_text("nothing of interest")
    (Path(made.uri) / "mail.txt").write_text(f"please look at {SUBJECT}")
    copy = Path(made.uri) / "copy-of-table"
    copy.write_text(made.tokens.study(OF_SUBJECT[0]))
    with pytest.raises(UsageError, match="copy-of-table"):
        delete(made.output, subject=SUBJECT, confirmed=True)
    copy.unlink()
    answer = delete(made.output, subject=SUBJECT, confirmed=True)
    assert answer.deletion
    assert (answer.deletion.unknown, answer.deletion.doubtful) == (("notes.txt",), ("mail.txt",))


class StoppedError(Exception):
    """Stands for the end of the process between two changes of a store."""


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes the n-th change of a store from now on the last one."""
    left = [10**9]

    def counted(name: str) -> None:
        original = getattr(LocalStore, name)

        def change(store: Store, *arguments: Any) -> Any:
            if left[0] == 0:
                raise StoppedError
            left[0] -= 1
            return original(store, *arguments)

        monkeypatch.setattr(LocalStore, name, change)

    for name in ("create", "replace", "delete"):
        counted(name)

    def set_left(n: int) -> int:
        before, left[0] = left[0], n
        return before

    return set_left


@pytest.mark.slow
def test_an_interrupted_deletion_leaves_the_old_state_or_is_finished(
    made: MadeScoredOutput, tmp_path: Path, stop_after: Any
) -> None:
    before = files(made.uri)
    whole = _copy(made, tmp_path / "whole")
    stop_after(10**6)
    delete(whole.output, subject=SUBJECT, confirmed=True)
    n_changes = 10**6 - stop_after(10**9)
    expected = _relative(whole)
    assert n_changes > 40
    for n in (n_changes // 2, n_changes - 3):
        stopped = _copy(made, tmp_path / f"stopped-{n}")
        stop_after(n)
        with pytest.raises(StoppedError):
            delete(stopped.output, subject=SUBJECT, confirmed=True)
        stop_after(10**9)
        _check_interrupted(stopped, {path.removeprefix(made.uri): data for path, data in before.items()}, expected)


def _copy(made: MadeScoredOutput, root: Path) -> MadeScoredOutput:
    shutil.copytree(made.root, root)
    return MadeScoredOutput(root, made.studies, made.excluded, made.tokens, made.broken)


def _relative(made: MadeScoredOutput) -> dict[str, bytes]:
    return {path.removeprefix(made.uri): data for path, data in files(made.uri).items()}


def _check_interrupted(made: MadeScoredOutput, old: dict[str, bytes], new: dict[str, bytes]) -> None:
    """Check that an interrupted deletion has changed nothing that counts, or that the next command finishes it."""
    found = _relative(made)
    if not any(path.endswith(output_layout.DELETION_JOURNAL) for path in found):
        staged = {path for path in found if f"/{output_layout.DELETION_PREFIX}" in path}
        assert {path: data for path, data in found.items() if path not in staged} in (old, new)
        if found.keys() - staged == old.keys():
            delete(made.output, subject=SUBJECT, confirmed=True)
    else:
        with pytest.raises(RunFault, match="deletion of this output is not finished"):
            verify(made.output)
        with pytest.raises(UsageError, match="--yes"):
            delete(made.output, subject=SUBJECT)
        assert delete(made.output, confirmed=True).finished_earlier
    assert _relative(made) == new
    assert verify(made.output).ok


def test_a_deletion_that_another_one_overtook_changes_nothing(
    made: MadeScoredOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(output: Any, prepared: Any) -> DeletionJournal:
        monkeypatch.undo()
        delete(made.output, subject="subject-b", confirmed=True)
        expected.append(files(made.uri))
        return apply_changes.decide(output, prepared)

    expected: list[dict[str, bytes]] = []
    monkeypatch.setattr("diagchd_batch.runs.delete.decide", overtaken)
    with pytest.raises(RunFault, match="another deletion of this output ended meanwhile"):
        delete(made.output, subject=SUBJECT, confirmed=True)
    assert files(made.uri) == expected[0]
    assert verify(made.output).ok


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("query", "FROM predictions"),
        ("report",),
        ("compare", "first", "second"),
        ("evaluate",),
        ("export", "shareable", "elsewhere"),
        ("export", "worklist"),
        ("show", "study-b"),
    ],
    ids=" ".join,
)
def test_an_unfinished_deletion_is_refused_by_every_command_that_reads_tables(
    made: MadeScoredOutput, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made.output.private.replace(output_layout.DELETION_JOURNAL, b"{}")
    name, *arguments = command
    if name == "export":
        name, arguments = f"{name} {arguments[0]}", arguments[1:]
    ended = diagchd_batch(*name.split(), made.uri, *arguments)
    assert ended.exit_code == 1, ended.messages
    assert "a deletion of this output is not finished" in ended.messages
    assert "finish it with the command `delete` and --yes" in ended.messages


def test_whoever_may_not_enter_the_private_tree_can_query(
    made: MadeScoredOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LocalStore.stat

    def denied(store: LocalStore, key: str) -> Any:
        if key == output_layout.DELETION_JOURNAL:
            raise ItemError(FailureCode.ACCESS_DENIED, key)
        return original(store, key)

    monkeypatch.setattr(LocalStore, "stat", denied)
    ended = diagchd_batch("query", made.uri, "SELECT count(*) FROM predictions")
    assert ended.exit_code == 0, ended.messages
