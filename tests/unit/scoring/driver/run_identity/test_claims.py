"""A command finds the run that it means, whatever version of the program has claimed the run."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import current_fingerprint, fingerprint
from diagchd_batch.config.job_file import InputConfig, LimitsConfig
from diagchd_batch.errors import FingerprintMismatchError, RunFault, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.scoring.driver.run_identity.claims import Claim, ProgramChangedError, RunRegistry
from diagchd_batch.scoring.driver.run_identity.identity import fingerprint_fields, input_fields
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.storage import Store, open_store
from tests.unit.results.made_run import MadePlan, run_record
from tests.unit.scoring.made_inputs import SPEC

INPUT = InputConfig(uri="archive", layout="tree")
FIELDS = fingerprint_fields(SPEC, INPUT, LimitsConfig())
INPUTS = input_fields(INPUT)


@pytest.fixture
def output(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "out"))


@pytest.fixture
def registry(tmp_path: Path, output: Store) -> RunRegistry:
    return RunRegistry(output, open_store(str(tmp_path / "private")), b"k" * 32)


def _claim(
    registry: RunRegistry,
    fields: dict[str, Any] = FIELDS,
    inputs: dict[str, Any] = INPUTS,
    batch_size: int = 4,
    intra_op_threads: int = 1,
    **request: Any,
) -> Claim:
    target = registry.target(fields, inputs, RunRequest(**request))
    return registry.claim(target, batch_size=batch_size, intra_op_threads=intra_op_threads, chd_threshold=0.5)


def _record(output: Store, claim: Claim, started_day: int = 1) -> None:
    """Write a record as a driver does once it has planned."""
    identity = claim.identity
    record = run_record(
        MadePlan([]),
        run_id=identity.run_id,
        parent_run_id=identity.parent_run_id,
        fingerprint=identity.fingerprint,
        fingerprint_fields=dict(identity.fields),
        started_at=datetime(2026, 1, started_day, tzinfo=UTC),
    )
    write_run_record(output, output, record)


def _finish(output: Store, claim: Claim, started_day: int = 1) -> None:
    _record(output, claim, started_day)
    output.create(output_layout.success_marker(claim.identity.run_id), b"")


def _manifest(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "studies.csv"
    path.write_text(f"study_id,uri\n{text}\n")
    return input_fields(InputConfig(uri="archive", layout="manifest", manifest=str(path)))


def test_the_same_command_resumes_then_repeats(registry: RunRegistry, output: Store) -> None:
    first, second = _claim(registry), _claim(registry)
    assert (first.resumed, second.resumed, second.finished) == (False, True, False)
    assert first.identity == second.identity
    _finish(output, first)
    third = _claim(registry)
    assert third.finished
    assert third.identity == first.identity


def test_new_run_counts_up_and_is_then_the_one_that_is_resumed(registry: RunRegistry, output: Store) -> None:
    first = _claim(registry)
    _finish(output, first)
    second = _claim(registry, new_run=True)
    assert first.identity.run_id.endswith("-1")
    assert second.identity.run_id.endswith("-2")
    assert _claim(registry).identity.run_id == second.identity.run_id


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bfloat16"}, {"weights_digest": "1" * 64}, {"height": 2 * SPEC.height}, {"preprocessing": "x/2"}],
)
def test_whatever_changes_a_score_is_another_run(registry: RunRegistry, changes: dict[str, Any]) -> None:
    other = fingerprint_fields(replace(SPEC, **changes), INPUT, LimitsConfig())
    assert _claim(registry).identity.run_id != _claim(registry, other).identity.run_id


@pytest.mark.parametrize("region", ["tagged", "found"])
def test_the_scored_region_is_part_of_the_fingerprint_unless_it_is_the_whole_frame(region: str) -> None:
    """Earlier versions scored whole frames and recorded nothing, so their fingerprints stay."""
    config = InputConfig.model_validate({"uri": "archive", "layout": "tree", "region": region})
    assert fingerprint_fields(SPEC, config, LimitsConfig()) == {**FIELDS, "region": region}
    assert "region" not in FIELDS
    assert input_fields(config) == input_fields(config.model_copy(update={"region": "whole"}))


@pytest.mark.parametrize(
    "frames, recorded",
    [("all", "all"), ("first", "first"), ("middle", "middle"), ({"every": 3}, "every 3"), ({"max": 2}, "max 2")],
)
def test_the_rule_for_frames_is_part_of_the_fingerprint(frames: Any, recorded: str) -> None:
    """The three words are recorded as runs of earlier versions recorded them, so their fingerprints are the same."""
    config = InputConfig.model_validate({"uri": "archive", "layout": "tree", "frames": frames})
    fields = fingerprint_fields(SPEC, config, LimitsConfig())
    assert fields == {**FIELDS, "frames": recorded}
    assert input_fields(config) == {**INPUTS, "frames": recorded}
    assert (fingerprint(fields) == fingerprint(FIELDS)) == (frames == "all")


def test_what_does_not_change_a_score_is_the_same_run(registry: RunRegistry) -> None:
    limits = LimitsConfig(max_failed_fraction=0.9, max_attempts=9, stall_timeout_s=1000)
    same = fingerprint_fields(replace(SPEC, chd_threshold=0.3), INPUT, limits)
    assert _claim(registry, same).identity.run_id == _claim(registry).identity.run_id


def test_another_input_is_another_run(registry: RunRegistry, tmp_path: Path) -> None:
    manifest = tmp_path / "studies.csv"
    ids = set()
    for text in ("study_id,uri\ns1,a.png\n", "study_id,uri\ns1,b.png\n"):
        manifest.write_text(text)
        config = InputConfig(uri="archive", layout="manifest", manifest=str(manifest))
        ids.add(_claim(registry, inputs=input_fields(config)).identity.run_id)
    moved = tmp_path / "moved.csv"
    moved.write_text(text)
    config = InputConfig(uri="archive", layout="manifest", manifest=str(moved))
    ids.add(_claim(registry, inputs=input_fields(config)).identity.run_id)
    assert len(ids) == 2  # The manifest's content is compared, not its place.


def test_the_input_part_of_a_run_id_is_keyed(tmp_path: Path, registry: RunRegistry, output: Store) -> None:
    other = RunRegistry(output, open_store(str(tmp_path / "other")), b"j" * 32)
    assert _claim(registry).identity.run_id != _claim(other).identity.run_id


@pytest.mark.parametrize("run_id", ["007", "2026-11-27", "null"])
def test_a_run_whose_id_does_not_read_as_text_can_be_resumed_but_not_made(
    registry: RunRegistry, tmp_path: Path, run_id: str
) -> None:
    with pytest.raises(UsageError, match=f"for example --run-id run-{run_id}$"):
        _claim(registry, run_id=run_id)
    earlier = _claim(registry).identity.model_copy(update={"run_id": run_id})  # as an earlier version made it
    assert earlier.create(open_store(str(tmp_path / "private")), output_layout.identity_file(run_id))
    resumed = _claim(registry, run_id=run_id)
    assert resumed.resumed and resumed.identity == earlier


def test_a_named_run_under_another_fingerprint_is_refused_with_the_differing_fields(registry: RunRegistry) -> None:
    _claim(registry, run_id="mine")
    other = fingerprint_fields(replace(SPEC, precision="bfloat16"), INPUT, LimitsConfig(max_pixels=5))
    with pytest.raises(FingerprintMismatchError) as error:
        _claim(registry, other, run_id="mine")
    assert error.value.differences == {"precision": ("float32", "bfloat16"), "max_pixels": (50_000_000, 5)}
    assert error.value.exit_code == 4


def test_a_named_run_on_another_input_is_refused_without_naming_paths(registry: RunRegistry) -> None:
    _claim(registry, run_id="mine")
    with pytest.raises(FingerprintMismatchError) as error:
        _claim(registry, inputs=input_fields(InputConfig(uri="canary", layout="tree")), run_id="mine")
    assert set(error.value.differences) == {"input.uri"}
    assert "canary" not in str(error.value)
    assert "archive" not in str(error.value)
    assert "input.uri: the run read its files from another place" in str(error.value)  # no digest


def test_a_resumed_run_keeps_the_batch_size_it_began_with(registry: RunRegistry) -> None:
    _claim(registry)
    again = _claim(registry, batch_size=16, intra_op_threads=8)
    assert (again.identity.batch_size, again.identity.intra_op_threads) == (4, 1)


@pytest.mark.parametrize("run_id", ["", "../elsewhere", "a/b", ".hidden", "x" * 81, "tab\t"])
def test_run_ids_that_are_no_plain_names_are_refused(registry: RunRegistry, run_id: str) -> None:
    with pytest.raises(UsageError):
        _claim(registry, run_id=run_id)


def test_a_selection_builds_on_the_newest_run_and_the_next_on_that(registry: RunRegistry, output: Store) -> None:
    first = _claim(registry, selection="new")
    # There is no earlier run to build on.
    assert (first.identity.parent_run_id, first.identity.selection) == (None, "all")
    _finish(output, first, 1)
    second = _claim(registry, selection="new")
    assert (second.identity.parent_run_id, second.identity.selection) == (first.identity.run_id, "new")
    assert _claim(registry).identity == second.identity  # the plain command resumes it as well
    _finish(output, second, 2)
    third = _claim(registry, selection="failed")
    assert (third.identity.parent_run_id, third.identity.selection) == (second.identity.run_id, "failed")
    assert len({claim.identity.run_id for claim in (first, second, third)}) == 3


def test_a_selection_resumes_what_is_not_finished(registry: RunRegistry, output: Store) -> None:
    first = _claim(registry)
    assert _claim(registry, selection="new").identity == first.identity
    with pytest.raises(UsageError, match="not finished"):
        _claim(registry, selection="failed")
    _finish(output, first)
    second = _claim(registry, selection="failed")
    assert _claim(registry, selection="failed").identity == second.identity
    with pytest.raises(UsageError, match="not finished"):
        _claim(registry, selection="new", run_id="mine")


def test_a_growing_manifest_stays_in_one_lineage(registry: RunRegistry, output: Store, tmp_path: Path) -> None:
    first = _claim(registry, inputs=_manifest(tmp_path, "s1,a.png"))
    _record(output, first)
    grown = _manifest(tmp_path, "s1,a.png\ns2,b.png")
    assert _claim(registry, inputs=grown, selection="new").identity == first.identity  # The unfinished run goes first.
    _finish(output, first)
    second = _claim(registry, inputs=grown, selection="new", run_id="second")
    assert second.identity.parent_run_id == first.identity.run_id
    _record(output, second)
    grown_again = _manifest(tmp_path, "s3,c.png")
    assert _claim(registry, inputs=grown_again, selection="new", run_id="second").resumed
    with pytest.raises(FingerprintMismatchError):
        _claim(registry, inputs=grown_again, run_id="second")


def test_a_selection_looks_at_runs_of_its_own_fingerprint_and_input_only(registry: RunRegistry, output: Store) -> None:
    _finish(output, _claim(registry), 1)
    other = fingerprint_fields(replace(SPEC, precision="bfloat16"), INPUT, LimitsConfig())
    assert _claim(registry, other, selection="new").identity.parent_run_id is None
    elsewhere = input_fields(InputConfig(uri="elsewhere", layout="tree"))
    assert _claim(registry, inputs=elsewhere, selection="new").identity.parent_run_id is None
    with pytest.raises(UsageError, match="no run"):
        _claim(registry, inputs=input_fields(InputConfig(uri="third", layout="tree")), selection="failed")


def test_of_several_lineages_the_one_begun_last_goes_on(registry: RunRegistry, output: Store) -> None:
    runs = [_claim(registry)]
    _finish(output, runs[0], 2)
    runs.append(_claim(registry, new_run=True))
    _finish(output, runs[1], 1)
    assert _claim(registry, selection="new").identity.parent_run_id == runs[0].identity.run_id


def test_a_damaged_record_stops_a_selection_that_could_build_on_its_run_and_no_other(
    registry: RunRegistry, output: Store
) -> None:
    """If the damaged record were ignored, its run's images would be scored again in a second lineage."""
    first = _claim(registry)
    _finish(output, first, 1)
    second = _claim(registry, selection="new")
    _finish(output, second, 2)
    other = fingerprint_fields(replace(SPEC, precision="bfloat16"), INPUT, LimitsConfig())
    elsewhere = input_fields(InputConfig(uri="elsewhere", layout="tree"))
    for fields, inputs in ((other, INPUTS), (FIELDS, elsewhere)):
        _finish(output, _claim(registry, fields, inputs), 3)
    output.replace(output_layout.run_record(second.identity.run_id), b"{")
    for selection in ("new", "failed"):
        with pytest.raises(DamagedRecordError, match=f"{second.identity.run_id}/run.json is damaged"):
            _claim(registry, selection=selection)
    for fields, inputs in ((other, INPUTS), (FIELDS, elsewhere)):
        assert _claim(registry, fields, inputs, selection="new").identity.parent_run_id


@pytest.mark.parametrize("request_", [{"run_id": "a", "new_run": True}, {"new_run": True, "selection": "new"}])
def test_requests_that_contradict_themselves_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RunRequest(**request_)


def test_of_two_nights_at_once_both_get_one_run(registry: RunRegistry, output: Store) -> None:
    """Both look for a run before either claims one."""
    first = _claim(registry)
    _finish(output, first)
    targets = [registry.target(FIELDS, INPUTS, RunRequest(selection="new")) for _ in range(2)]
    claims = [registry.claim(target, batch_size=4, intra_op_threads=1, chd_threshold=0.5) for target in targets]
    assert [target.exists for target in targets] == [False, False]
    assert claims[0].identity == claims[1].identity
    assert [claim.resumed for claim in claims] == [False, True]
    assert registry.target(FIELDS, INPUTS, RunRequest(selection="new")).exists  # before it has a record


def test_a_damaged_identity_is_a_fault_of_the_run(registry: RunRegistry, tmp_path: Path) -> None:
    claim = _claim(registry)
    (file,) = tmp_path.rglob("identity.json")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RunFault, match=f"{claim.identity.run_id}/identity.json is damaged"):
        _claim(registry)


# The results of fingerprint_fields in earlier versions. Some recorded no runtime, and still earlier ones recorded the
# schema version in place of a scoring version.
FIELDS_WITHOUT_RUNTIME = {name: value for name, value in FIELDS.items() if name != "runtime"}
EARLIEST_FIELDS = {name: value for name, value in FIELDS_WITHOUT_RUNTIME.items() if name != "scoring_version"} | {
    "schema_version": 1
}
of_an_earlier_version = pytest.mark.parametrize(
    "earlier_fields", [FIELDS_WITHOUT_RUNTIME, EARLIEST_FIELDS], ids=["no runtime", "no scoring version"]
)
NEXT_FIELDS = FIELDS | {"scoring_version": FIELDS["scoring_version"] + 1}


def test_the_fingerprint_holds_the_scoring_version_and_neither_the_schema_nor_the_package_version() -> None:
    assert FIELDS["scoring_version"] == 1
    assert not {"schema_version", "package_version"} & set(FIELDS)


@of_an_earlier_version
def test_a_run_of_an_earlier_version_is_resumed_then_repeated_and_keeps_its_fingerprint(
    registry: RunRegistry, output: Store, earlier_fields: dict[str, Any]
) -> None:
    earlier = _claim(registry, earlier_fields)
    assert earlier.identity.fingerprint == fingerprint(earlier_fields)
    resumed = _claim(registry)
    assert (resumed.identity, resumed.resumed, resumed.finished) == (earlier.identity, True, False)
    _finish(output, earlier)
    assert _claim(registry).finished
    assert current_fingerprint(earlier.identity.fingerprint, earlier.identity.fields) == fingerprint(FIELDS)


@of_an_earlier_version
@pytest.mark.parametrize("selection", ["new", "failed"])
def test_a_run_of_an_earlier_version_is_continued_as_a_lineage(
    registry: RunRegistry, output: Store, selection: str, earlier_fields: dict[str, Any]
) -> None:
    earlier = _claim(registry, earlier_fields)
    _finish(output, earlier)
    child = _claim(registry, selection=selection)
    assert child.identity.parent_run_id == earlier.identity.run_id
    assert _claim(registry).identity == child.identity  # the plain command goes on with the newest


@of_an_earlier_version
def test_a_named_run_of_an_earlier_version_is_resumed(registry: RunRegistry, earlier_fields: dict[str, Any]) -> None:
    _claim(registry, earlier_fields, run_id="mine")
    assert _claim(registry, run_id="mine").resumed
    with pytest.raises(FingerprintMismatchError) as error:
        _claim(registry, FIELDS | {"precision": "bfloat16"}, run_id="mine")
    assert error.value.differences == {"precision": ("float32", "bfloat16")}


@pytest.mark.parametrize(
    "began_with", [FIELDS, FIELDS_WITHOUT_RUNTIME, EARLIEST_FIELDS], ids=["now", "before", "first"]
)
def test_results_of_two_runtimes_never_mix(registry: RunRegistry, output: Store, began_with: dict[str, Any]) -> None:
    _finish(output, _claim(registry, began_with, run_id="first"))
    other = fingerprint_fields(replace(SPEC, runtime="jax"), INPUT, LimitsConfig())
    assert _claim(registry, other, selection="new").identity.parent_run_id is None
    with pytest.raises(FingerprintMismatchError) as error:
        _claim(registry, other, run_id="first")
    assert error.value.differences == {"runtime": ("tensorflow", "jax")}


@pytest.mark.parametrize("began_with", [FIELDS, EARLIEST_FIELDS], ids=["this version", "before scoring versions"])
@pytest.mark.parametrize(
    "request_",
    [{}, {"selection": "new"}, {"selection": "failed"}, {"selection": "new", "run_id": "tonight"}, {"run_id": "first"}],
    ids=str,
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_whole_archive_is_not_scored_again_only_because_the_program_changed(
    registry: RunRegistry, output: Store, began_with: dict[str, Any], request_: dict[str, Any], finished: bool
) -> None:
    first = _claim(registry, began_with, run_id="first")
    (_finish if finished else _record)(output, first)
    with pytest.raises(ProgramChangedError, match=r"scoring version 2.*run first has \(scoring version 1\).*--new-run"):
        _claim(registry, NEXT_FIELDS, **request_)


def test_a_new_run_of_a_changed_program_is_begun_when_it_is_asked_for_and_then_goes_on(
    registry: RunRegistry, output: Store
) -> None:
    _finish(output, _claim(registry), 1)
    second = _claim(registry, NEXT_FIELDS, new_run=True)
    assert not second.resumed
    assert _claim(registry, NEXT_FIELDS).identity == second.identity
    _finish(output, second, 2)
    child = _claim(registry, NEXT_FIELDS, selection="new")
    assert child.identity.parent_run_id == second.identity.run_id


def test_a_changed_program_and_another_change_begin_a_new_run_as_ever(
    registry: RunRegistry, output: Store, tmp_path: Path
) -> None:
    _finish(output, _claim(registry, inputs=_manifest(tmp_path, "s1,a.png")))
    assert not _claim(registry, NEXT_FIELDS | {"precision": "bfloat16"}).resumed
    assert not _claim(registry, NEXT_FIELDS, inputs=_manifest(tmp_path, "s2,b.png")).resumed
    with pytest.raises(ProgramChangedError):  # A selection considers runs of any manifest.
        _claim(registry, NEXT_FIELDS, inputs=_manifest(tmp_path, "s3,c.png"), selection="new")


def test_a_damaged_identity_of_another_run_does_not_stop_a_first_run(
    registry: RunRegistry, output: Store, tmp_path: Path
) -> None:
    other = _claim(registry, NEXT_FIELDS, run_id="other")
    _finish(output, other)
    (file,) = tmp_path.rglob("identity.json")
    file.write_bytes(b"{")
    assert not _claim(registry).resumed


def test_identities_are_stored_as_plain_fields(registry: RunRegistry, tmp_path: Path) -> None:
    claim = _claim(registry)
    (file,) = tmp_path.rglob("identity.json")
    assert json.loads(file.read_text()) == claim.identity.model_dump()
