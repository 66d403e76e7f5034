"""Fails when the scoring code gives other scores and SCORING_VERSION was not raised.

`data/scores-version-N.json` holds the score rows of a few images of the sample, scored with the bundled compact model.
After a change that is meant to change scores, raise `diagchd_batch.scoring.scoring_version.SCORING_VERSION`, record the
new rows with `python -m tests.unit.scoring.test_scoring_version`, and commit both. Keep the earlier files: they show
what every version computed.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.models import InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.model import Predictor, resolve_model
from diagchd_batch.results.datasets import read_scores
from diagchd_batch.scoring.liveness.attempts import Worker
from diagchd_batch.scoring.scoring_version import SCORING_VERSION
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.sources import open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.creation import freeze_plan

SAMPLE = Path("dataset/sample")
RUN = "recorded"
KEY = b"scores of the sample, committed"
N_IMAGES = 6

NOT_COMPARED = {"run_id", "subject_id", "study_id", "mask_png", "reference_png"}
"""Masks are compared by their numbers of pixels."""
PROBABILITY = 1e-4
PIXELS = 2
"""A pixel between two classes may fall to either side on another processor."""
DISTANCE_PX = 0.05


def recorded_file(version: int) -> Path:
    return Path(__file__).parent / "data" / f"scores-version-{version}.json"


def score_sample(directory: Path) -> list[dict[str, Any]]:
    """Score the sample's first images from their files to their rows, in the order of their tokens."""
    lines = (SAMPLE / "studies.csv").read_text(encoding="utf-8").splitlines()
    manifest = directory / "studies.csv"
    manifest.write_text("\n".join(lines[: N_IMAGES + 1]) + "\n", encoding="utf-8")
    config = InputConfig(uri=str(SAMPLE), layout="manifest", manifest=str(manifest), simulated=True)
    output, private = open_store(str(directory / "out")), open_store(str(directory / "private"), owner_only=True)
    source = open_source(config.uri)
    plan = freeze_plan(config, ShardsConfig(), source, private, RUN, Pseudonymizer(KEY))
    spec = resolve_model("diagchd-compact", "bundled", "float32")
    settings = RunSettings(
        run_id=RUN,
        submission=RUN,
        fingerprint="",
        input_uri=source.uri,
        output_uri=output.uri,
        private_uri=private.uri,
        model=spec,
        batch_size=2,
        intra_op_threads=1,
        decoder_threads=1,
        frame_rule="all",
        label_map=None,
        limits=LimitsConfig(),
        simulated=True,
        has_masks=True,
    )
    scorer = ShardScorer(settings, Predictor(spec, 2), Worker.this_process())
    for shard in plan.shards():
        scorer.score(shard)
    rows = read_scores(output, RUN).to_table().to_pylist()
    return [{name: value for name, value in row.items() if name not in NOT_COMPARED} for row in rows]


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


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return score_sample(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    file = recorded_file(SCORING_VERSION)
    assert file.is_file(), f"record the scores of version {SCORING_VERSION}: {__doc__}"
    return json.loads(file.read_text(encoding="utf-8"))


def test_scores_are_those_recorded_for_this_scoring_version(
    recorded: list[dict[str, Any]], scored: list[dict[str, Any]]
) -> None:
    found = changes(recorded, scored)
    assert not found, "\n".join([*found, "Scores have changed. Is it meant? Then:", __doc__ or ""])


def test_every_scoring_version_has_its_recorded_scores() -> None:
    for version in range(1, SCORING_VERSION + 1):
        assert recorded_file(version).is_file()


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
    with tempfile.TemporaryDirectory() as scratch:
        rows = score_sample(Path(scratch))
    recorded_file(SCORING_VERSION).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
