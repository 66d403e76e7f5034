"""Fails when the scoring code gives other scores and SCORING_VERSION was not raised.

`data/scores-version-N.json` holds the score rows of a few images of the sample, and `data/formats-version-N.json` those
of the files in `data/formats`: one small file for each kind of reading (JPEG, rotation, colour, 16 bits, pages,
palette, transparency, grey values of masks that are mapped to classes) and of failure. The model is the bundled compact
one. The sample is also scored in bfloat16, whose results vary more between processors, so fewer values are compared.

After a change that is meant to change scores, raise `diagchd_batch.scoring.scoring_version.SCORING_VERSION`, record the
new rows with `python -m tests.unit.scoring.test_scoring_version`, and commit both. Keep the earlier files: they show
what every version computed.
"""

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.model import Predictor, resolve_model
from diagchd_batch.results.datasets import read_scores
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.scoring_version import SCORING_VERSION
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.sources import open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan

SAMPLE = Path("dataset/sample")
RUN = "recorded"
KEY = b"scores of the sample, committed"
N_IMAGES = 6
BATCH = 4

NOT_COMPARED = {"run_id", "subject_id", "study_id", "mask_png", "reference_png"}
"""Masks are compared by their numbers of pixels."""
PROBABILITY = 1e-4
PIXELS = 2
"""A pixel between two classes may fall to either side on another processor."""
DISTANCE_PX = 0.05


DATA = Path(__file__).parent / "data"
BFLOAT16_PROBABILITY = 0.02
BFLOAT16_PIXELS = 60


def recorded_file(kind: str, version: int) -> Path:
    return DATA / f"{kind}-version-{version}.json"


def predictor_of(precision: str) -> Predictor:
    return Predictor(resolve_model("diagchd-compact", "bundled", precision), BATCH)


def score_sample(directory: Path, predictor: Predictor) -> list[dict[str, Any]]:
    """Score the sample's first images from their files to their rows, in the order of their tokens."""
    lines = (SAMPLE / "studies.csv").read_text(encoding="utf-8").splitlines()
    manifest = directory / "studies.csv"
    manifest.write_text("\n".join(lines[: N_IMAGES + 1]) + "\n", encoding="utf-8")
    return score(InputConfig(uri=str(SAMPLE), layout="manifest", manifest=str(manifest)), directory, predictor)


def score_formats(directory: Path, predictor: Predictor) -> list[dict[str, Any]]:
    """Score the files of other kinds than the sample's, among them broken ones."""
    folder = DATA / "formats"
    label_map = {0: 0, 128: 1, 255: 2}
    config = InputConfig(uri=str(folder), layout="manifest", manifest=str(folder / "studies.csv"), label_map=label_map)
    return score(config, directory, predictor)


def score(config: InputConfig, directory: Path, predictor: Predictor) -> list[dict[str, Any]]:
    """Score all images of an input and return their rows, without those that depend on the run or the processor."""
    output, private = open_store(str(directory / "out")), open_store(str(directory / "private"), owner_only=True)
    source = open_source(config.uri)
    plan = freeze_plan(config, ShardsConfig(), source, private, RUN, Pseudonymizer(KEY))
    settings = RunSettings(
        run_id=RUN,
        submission=RUN,
        fingerprint="",
        input_uri=source.uri,
        output_uri=output.uri,
        private_uri=private.uri,
        model=predictor.spec,
        batch_size=predictor.batch_size,
        intra_op_threads=1,
        decoder_threads=1,
        frame_rule=config.frame_rule,
        region=config.region,
        label_map=config.label_map,
        limits=LimitsConfig(),
        simulated=True,
        has_masks=True,
    )
    scorer = ShardScorer(settings, predictor, Worker.this_process())
    for shard in plan.shards():
        scorer.score(shard)
    rows = read_scores(output, RUN).to_table().to_pylist()
    return [{name: value for name, value in row.items() if name not in NOT_COMPARED} for row in rows]


KINDS: dict[str, tuple[Callable[[Path, Predictor], list[dict[str, Any]]], str]] = {
    "scores": (score_sample, "float32"),
    "formats": (score_formats, "float32"),
    "bfloat16": (score_sample, "bfloat16"),
}
"""What is scored, and in which precision."""


def changes(recorded: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    """Return the values that differ by more than processors do. A column that is new is no change of a score."""
    assert [row["image_id"] for row in recorded] == [row["image_id"] for row in now]
    return [
        f"{old['image_id']} {name}: {value!r} recorded, {new.get(name)!r} now"
        for old, new in zip(recorded, now, strict=True)
        for name, value in old.items()
        if not _alike(name, value, new.get(name))
    ]


def _alike(name: str, old: Any, new: Any) -> bool:
    if type(old) is not type(new) or isinstance(old, bool | str | list) or old is None:
        return old == new
    if isinstance(old, float) and math.isnan(old):
        return math.isnan(new)
    if name in ("frame", "source_frames", "source_height", "source_width") or name.startswith("reference_px"):
        return old == new
    if isinstance(old, int):
        return abs(old - new) <= PIXELS
    return abs(old - new) <= (DISTANCE_PX if "_source_px_" in name else PROBABILITY)


def recorded_rows(kind: str) -> list[dict[str, Any]]:
    file = recorded_file(kind, SCORING_VERSION)
    assert file.is_file(), f"record the scores of version {SCORING_VERSION}: {__doc__}"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    return recorded_rows("scores")


@pytest.mark.parametrize(("kind", "score"), [("scores", score_sample), ("formats", score_formats)])
def test_scores_are_those_recorded_for_this_scoring_version(
    kind: str,
    score: Callable[[Path, Predictor], list[dict[str, Any]]],
    bundled_predictor: Predictor,
    tmp_path: Path,
) -> None:
    found = changes(recorded_rows(kind), score(tmp_path, bundled_predictor))
    assert not found, "\n".join([*found, "Scores have changed. Is it meant? Then:", __doc__ or ""])


def test_bfloat16_gives_about_the_recorded_scores(tmp_path: Path) -> None:
    scored = score_sample(tmp_path, predictor_of("bfloat16"))
    for old, new in zip(recorded_rows("bfloat16"), scored, strict=True):
        assert new["image_id"] == old["image_id"]
        assert new["chd_probability"] == pytest.approx(old["chd_probability"], abs=BFLOAT16_PROBABILITY)
        for name in ("heart_px", "septum_px", "background_px"):
            assert new[name] == pytest.approx(old[name], abs=BFLOAT16_PIXELS)


def test_the_recorded_formats_cover_every_way_of_reading() -> None:
    rows = recorded_rows("formats")
    assert {row["error_code"] for row in rows} >= {None, "decode_error", "unsupported_format"}
    assert {row["source_frames"] for row in rows} >= {1, 3}
    assert {row["reference_status"] for row in rows} >= {None, "ok", "mask_size_mismatch"}
    assert (192, 144) in {(row["source_height"], row["source_width"]) for row in rows}  # rotated


def test_every_scoring_version_has_its_recorded_scores() -> None:
    for version in range(1, SCORING_VERSION + 1):
        for kind in KINDS:
            assert recorded_file(kind, version).is_file()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("chd_probability", 0.001),
        ("heart_px", 40),
        ("seg_loss", 0.001),
        ("assd_source_px_heart", 0.2),
        ("source_height", 1),
    ],
)
def test_a_change_of_any_kind_of_value_is_found(recorded: list[dict[str, Any]], name: str, change: float) -> None:
    changed = [dict(row) for row in recorded]
    place = next(number for number, row in enumerate(recorded) if row[name] is not None)
    changed[place][name] += change
    (found,) = changes(recorded, changed)
    assert name in found


@pytest.mark.parametrize("name", ["quality_flags", "status", "chd_call", "reference_status"])
def test_a_change_of_a_word_or_a_call_is_found(recorded: list[dict[str, Any]], name: str) -> None:
    changed = [dict(row) for row in recorded]
    changed[0][name] = None
    assert changes(recorded, changed)


if __name__ == "__main__":
    for name, (score_kind, precision) in KINDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            rows = score_kind(Path(scratch), predictor_of(precision))
        recorded_file(name, SCORING_VERSION).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
