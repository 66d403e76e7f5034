"""Every identifier of a cohort is a canary. After every command has been used, no canary is outside _private/.

Two searches look for them: that of the tests, which knows only the mark of canaries, and `privacy check`, which knows
what the program itself has collected. The second must also find every canary that is planted on purpose.

Exclusion reasons and the names of covariate levels are free text, so they are treated as identifiers, too. The tables
have numbers in their place.
"""

import contextlib
import csv
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
import yaml
from PIL import Image, PngImagePlugin, TiffImagePlugin
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

from diagchd_batch.images.identifying.dicom_elements import confidential_elements
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.runs import submit
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.scoring.liveness.progress_events import ShardSummary
from diagchd_batch.scoring.liveness.shard_attempts import Worker
from diagchd_batch.scoring.worker.settings import RunSettings
from diagchd_batch.scoring.worker.shard_scorer import ShardScorer
from diagchd_batch.studies.plan.planned_images import ShardReference
from tests.support.checkers.canaries import MARK, SECRET, Search, canary
from tests.support.command_line import diagchd_batch
from tests.support.scoring_runs import PROJECT, TIMEOUT_S, descendants, kill
from tests.support.trainings.held_out_run import GreyModel, OneMachine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_STUDIES = 40
CREDENTIALS = {
    name: f"{SECRET}{name.lower().replace('_', '')}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DATABASE_PASSWORD")
}
FORMS = ((), ("--json",))
SIZE = (64, 48)
DESCRIPTION, PATIENT_NAME_TAG = 270, 65_000


def _write_picture(path: Path, pixels: np.ndarray, number: int) -> None:
    picture, text = Image.fromarray(pixels), canary("metadata", number)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Patient", text)
        chunks.add_text("Comment", text, zip=True)
        picture.save(path, pnginfo=chunks)
    elif path.suffix == ".dcm":
        _write_dicom(path, pixels, number)
    elif path.suffix == ".jpg":
        exif = Image.Exif()
        exif[DESCRIPTION] = text
        xmp = f"<x:xmpmeta><dc:creator>{canary('xmp', number)}</dc:creator></x:xmpmeta>"
        picture.save(path, exif=exif, comment=text.encode(), xmp=xmp.encode())
    else:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[DESCRIPTION] = text
        picture.save(path, tiffinfo=tags)


def _write_dicom(path: Path, pixels: np.ndarray, number: int) -> None:
    """Write an object in which every element of PS3.15 table E.1-1 that holds text is a canary, and a private one."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for tag in confidential_elements():
        if tag >> 16 != 2 and dictionary_VR(tag) in ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"):
            with pydicom.config.disable_value_validation():
                data.add_new(tag, dictionary_VR(tag), canary(f"element{tag:08x}n", number))
    data.private_block(0x0011, canary("house"), create=True).add_new(1, "LO", canary("private", number))
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundImageStorage, f"1.2.276.0.7230010.{7_000_000 + number}"
    data.StudyInstanceUID = f"1.2.276.0.7230010.{8_000_000 + number}"
    data.Rows, data.Columns, data.SamplesPerPixel = *pixels.shape[:2], 3
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
    data.PixelData = pixels.tobytes()
    dcmwrite(path, data, enforce_file_format=True)


class Archive:
    """A cohort in which every name is a canary, and its tables."""

    def __init__(self, root: Path) -> None:
        self.root = root
        generator = np.random.default_rng(0)
        self.studies: list[dict[str, object]] = []
        reference, reads, covariates = [], [], []
        for number in range(N_STUDIES):
            study = canary("study", number)
            folder = f"{canary('folder', number)}/{canary('sub')}"
            ending = (".png", ".jpg", ".tif", ".dcm")[number % 4]
            pixels = generator.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
            image, mask = f"{folder}/{canary('image', number)}{ending}", f"{folder}/{canary('mask', number)}.png"
            _write_picture(root / image, pixels, number)
            _write_picture(root / mask, (pixels[..., 0] % (3 if number % 7 else 9)).astype(np.uint8), number)
            if number % 10 == 9:  # The decoder's message about a broken file can quote its name and contents.
                (root / image).write_bytes(f"P6 {canary('content', number)} ".encode() + (root / image).read_bytes())
            if number % 10 == 8:
                (root / image).write_bytes((root / image).read_bytes()[:300])
            if number == 7:
                (root / image).unlink()
            excluded = number == 5
            self.studies.append(
                {
                    "study_id": study,
                    "uri": image,
                    "subject_id": canary("subject", number // 2),
                    "mask_uri": mask,
                    "label": number % 2,
                    "include": int(not excluded),
                    "exclude_reason": canary("reason") if excluded else "",
                }
            )
            diagnosis = canary("diagnosis") if number % 2 else "normal"
            reference.append({"study_id": study, "label": number % 2, "diagnosis": diagnosis, "method": canary("how")})
            for reader in range(2):
                common = {"study_id": study, "reader": canary("reader", reader), "session": canary("session")}
                reads.append(
                    {**common, "arm": canary("arm"), "status": "read", "call": int((number + reader) % 3 == 0)}
                )
            row = {"study_id": study, "site": canary("site", number % 3), "hospital_number": canary("hospital", number)}
            covariates.append({**row, canary("column"): canary("value", number % 2)})
        unknown = canary("unknown")
        reference.append({"study_id": unknown, "label": 1, "diagnosis": "", "method": ""})
        tables: dict[str, list[dict[str, Any]]] = {
            "studies": self.studies,
            "reference": reference,
            "reads": reads,
            "sites": covariates,
        }
        self.tables = {name: self.table(name, rows) for name, rows in tables.items()}

    def table(self, name: str, rows: list[dict[str, Any]]) -> str:
        path = self.root / f"{canary('table')}-{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(path)


class User:
    """Runs commands, and keeps their output and the files that Ray had on disk when it was stopped."""

    def __init__(self, directory: Path, archive: Archive) -> None:
        self.directory, self.archive = directory, archive
        self.output = directory / "output"
        self.kept = directory / "kept"
        self.said = directory / "said"
        for path in (self.kept, self.said, directory / "site"):
            path.mkdir()
        (directory / "site" / "sitecustomize.py").write_text(_SITE)
        self._numbers = itertools.count(1)

    def job(self, name: str = "job", **changes: object) -> str:
        tables = self.archive.tables
        evaluation = {"reference": tables["reference"], "readers": tables["reads"], "covariates": tables["sites"]}
        job: dict[str, Any] = {
            "version": 1,
            "input": {"uri": str(self.archive.root), "layout": "manifest", "manifest": tables["studies"]},
            "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
            "output": {"uri": str(self.output)},
            "shards": {"images_per_shard": 4},
            "evaluation": {**evaluation, "resamples": 100},
        }
        for key, value in changes.items():
            section, _, field = key.partition("__")
            job[section][field] = value
        path = self.directory / f"{canary('jobfile')}-{name}.yaml"
        path.write_text(yaml.safe_dump(job))
        return str(path)

    def start(self, *arguments: str, **environment: str) -> tuple[subprocess.Popen[bytes], list[Path]]:
        """Start a command as a process. Return it and the files that receive its stdout and stderr."""
        paths = os.pathsep.join([str(self.directory / "site"), str(PROJECT)])
        streams = self._streams(arguments[0])
        with streams[0].open("wb") as stdout, streams[1].open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "diagchd_batch", *arguments],
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, **CREDENTIALS, "PYTHONPATH": paths, "KEPT": str(self.kept), **environment},
                cwd=self.directory,
                start_new_session=True,
            )
        return process, streams

    def run_as_process(self, *arguments: str, ends_with: int, **environment: str) -> None:
        """Run a command that loads the model, here or in Ray's workers."""
        process, streams = self.start(*arguments, **environment)
        assert process.wait(TIMEOUT_S) == ends_with, [stream.read_text() for stream in streams]

    def give(self, *arguments: str, ends_with: tuple[int, ...] = (0,)) -> str:
        """Run a command in this process and return what it printed. What native libraries print is kept, too."""
        streams = self._streams(arguments[0])
        with mock.patch.dict(os.environ, CREDENTIALS), contextlib.chdir(self.directory), _descriptors_to(streams):
            ended = diagchd_batch(*arguments)
        for stream, text in zip(streams, (ended.written, ended.messages.encode()), strict=True):
            stream.write_bytes(stream.read_bytes() + text)
        assert ended.exit_code in ends_with, f"{arguments}: {ended.exit_code}\n{ended.printed}\n{ended.messages}"
        return ended.printed

    def give_all(self, *commands: Sequence[str], ends_with: tuple[int, ...] = (0,)) -> None:
        for arguments in commands:
            self.give(*arguments, ends_with=ends_with)

    def _streams(self, command: str) -> list[Path]:
        number = next(self._numbers)
        return [self.said / f"{number:02d}-{command}.{name}" for name in ("stdout", "stderr")]

    def submit_and_kill(self, job: str) -> None:
        """Submit the job, and kill the driver and all of Ray once a shard is committed."""
        process, _ = self.start("submit", job)
        deadline_s = time.monotonic() + TIMEOUT_S
        while not list(self.output.glob("scores/run_id=*/shard-*.parquet")):
            assert process.poll() is None and time.monotonic() < deadline_s
            time.sleep(0.02)
        started = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in started:
            kill(pid)


@contextmanager
def _descriptors_to(streams: Sequence[Path]) -> Iterator[None]:
    """Let the descriptors of stdout and stderr lead to files."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor, stream in zip((1, 2), streams, strict=True):
            with stream.open("wb") as file:
                os.dup2(file.fileno(), descriptor)
        yield
    finally:
        for descriptor, before in zip((1, 2), kept, strict=True):
            os.dup2(before, descriptor)
            os.close(before)


class _ModelWithLosses(GreyModel):
    """A stand-in for the network, of which images with a reference get a loss."""

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        losses = None if reference_bhw_u8 is None else np.full(len(images_bhwc_u8), 0.5, np.float32)
        prediction = super().predict(images_bhwc_u8, reference_bhw_u8)
        return replace(prediction, seg_loss_b_f32=losses, soft_dice_b_f32=losses)


def _score_here(
    settings: RunSettings,
    shards: Sequence[ShardReference],
    actors: ActorPlan,
    *,
    on_summary: Callable[[ShardSummary], None],
    **callbacks: Any,
) -> None:
    """Score shards in this process."""
    scorer = ShardScorer(settings, _ModelWithLosses(settings.model, settings.batch_size, 0.0), Worker.this_process())
    for shard in shards:
        on_summary(scorer.score(shard))


# The directory of a local Ray and its workers is removed when a run ends, or by the next run if the run was killed.
# This copies its files first. Directories without a Ray hold drafts of plans, which name files; only their owner can
# enter them. If FAULT is set, a worker raises an unexpected exception with an identifier in its message.
_SITE = textwrap.dedent(
    """
    import contextlib, os, shutil, uuid
    from pathlib import Path

    remove = shutil.rmtree

    def kept(path, *arguments, **options):
        if Path(path).name.startswith("dcb-") and Path(path, "ray").is_dir():
            for directory, _, names in os.walk(path):
                for name in names:
                    file = Path(directory, name)
                    if file.is_file() and not file.is_symlink():
                        place = Path(os.environ["KEPT"], uuid.uuid4().hex, file.relative_to(path))
                        place.parent.mkdir(parents=True)
                        with contextlib.suppress(OSError):  # gone meanwhile: Ray's processes still end
                            shutil.copyfile(file, place)
        return remove(path, *arguments, **options)

    shutil.rmtree = kept

    if os.environ.get("FAULT"):
        import diagchd_batch.results.mask_codec as codec

        def broken(*arguments):
            raise RuntimeError("cannot encode " + os.environ["FAULT"])

        codec.encode_mask = broken
    """
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Return a user with three runs: one that was killed and resumed, one whose worker failed, and a second one."""
    archive = Archive(tmp_path_factory.mktemp("archive"))
    user = User(tmp_path_factory.mktemp("user"), archive)
    job = user.job()
    _make_mistakes(user)
    user.run_as_process("plan", job, ends_with=0)
    user.give("plan", job, "--no-measure", "--json")
    user.submit_and_kill(job)
    user.give("status", str(user.output))
    user.give("verify", str(user.output), ends_with=(0, 1))
    user.run_as_process("submit", job, ends_with=3)
    return user


@pytest.fixture(scope="module")
def user(scored: User) -> User:
    """Return a user who has run every command on an archive."""
    user = scored
    output, job = str(user.output), user.job()
    (first,) = _run_ids(user)
    user.run_as_process("submit", job, "--set", "model.weights=seed:1", ends_with=1, FAULT=canary("fault"))
    with (  # It is searched like the first run, for which the workers of a Ray have scored.
        mock.patch.object(ray_data, "run_shards", _score_here),
        mock.patch.object(submit, "LocalCluster", lambda machine: OneMachine()),
    ):
        second = json.loads(user.give("submit", job, "--new-run", "--json", ends_with=(3,)))["run_id"]
    user.give_all(*([command, output, *form] for command in ("status", "list") for form in FORMS))
    user.give_all(*(["logs", output, "--run-id", run] for run in _run_ids(user)))
    user.give_all(*(["verify", output, "--run-id", first, *form] for form in FORMS), ends_with=(0, 1))
    user.give_all(*(["evaluate", output, "--run-id", first, *form] for form in FORMS))
    user.give("compare", output, first, second)
    user.give("report", output, "--run-id", first)
    user.give_all(
        *(
            ["query", output, f"SELECT * FROM {view}", "--format", form]
            for form in ("table", "csv", "json")
            for view in ("predictions", "runs", "failures", "study_results", "reads", "flow", "cohort_characteristics")
        ),
        ["export", "shareable", output, str(user.directory / "shared"), "--run-id", first],
        ["export", "worklist", output, "--run-id", first],
    )
    return user


def _run_ids(user: User) -> list[str]:
    return [path.name.partition("=")[2] for path in user.output.glob("runs/run_id=*")]


def _make_mistakes(user: User) -> None:
    """Plan with invalid input, which is refused with a message."""
    studies = user.archive.studies
    outside = user.archive.table("outside", [{**studies[0], "uri": f"../{canary('outside')}.png"}, *studies[1:]])
    twice = user.archive.table("twice", [studies[0], studies[0]])
    wrong = user.archive.table(
        "wrong", [{"study_id": studies[0]["study_id"], "label": 1 - int(str(studies[0]["label"]))}]
    )
    read = {"study_id": canary("study", 0), "reader": canary("reader", 0), "status": "read", "call": 1}
    reads = user.archive.table("reads-twice", [read, read])
    mistakes = {
        "outside": {"input__manifest": outside},
        "twice": {"input__manifest": twice},
        "wrong": {"evaluation__reference": wrong},
        "reads": {"evaluation__readers": reads},
    }
    user.give_all(
        *(["plan", user.job(name, **changes), "--no-measure"] for name, changes in mistakes.items()), ends_with=(0, 2)
    )
    user.job()


def test_no_output_outside_the_private_tree_holds_an_identifier(user: User) -> None:
    private = user.output / "_private"
    assert list(Search([MARK]).in_tree(private)), "the search must find the identifiers in the private tree"
    assert not list(Search([MARK]).in_tree(user.output, private))


def test_nothing_said_to_the_user_holds_an_identifier(user: User) -> None:
    assert len(list(user.said.iterdir())) > 60
    assert not list(Search([MARK]).in_tree(user.said))


def test_nothing_that_was_shared_holds_an_identifier(user: User) -> None:
    assert (user.directory / "shared" / "README.md").exists()
    assert not list(Search([MARK]).in_tree(user.directory / "shared"))
    for path in (user.directory / "shared").iterdir():
        assert not re.search(r"\b[psir]-[0-9a-f]{16}\b", path.read_text())


def test_ray_keeps_no_identifier_on_the_disk(user: User) -> None:
    assert list(user.kept.rglob("raylet.*")) and list(user.kept.rglob("worker-*"))
    assert not list(Search([MARK]).in_tree(user.kept))


def test_secrets_are_nowhere(user: User) -> None:
    for place in (user.output, user.said, user.kept, user.directory / "shared"):
        assert not list(Search([SECRET]).in_tree(place))


def test_the_privacy_check_finds_nothing(user: User) -> None:
    shared = ("--also", str(user.directory / "shared"))
    result = json.loads(user.give("privacy", "check", str(user.output), *shared, "--json"))
    assert (result["findings"], result["unsearched"], result["ok"]) == ([], [], True)
    assert result["n_searched"] > 500
    assert not list(Search([MARK]).in_tree(user.said))


def test_the_privacy_check_finds_every_canary_that_is_planted(user: User) -> None:
    known = _canaries_of_good_files(user)
    assert {"element00100010n", "private", "metadata", "xmp", "study", "subject", "reader", "folder"} <= {
        re.sub(r"\d+$", "", name.removeprefix(MARK)) for name in known
    }
    uids = [f"1.2.276.0.7230010.{base + 3}" for base in (7_000_000, 8_000_000)]
    planted = {f"reports/planted-{number:03d}.txt": text for number, text in enumerate([*sorted(known), *uids])}
    try:
        for name, text in planted.items():
            (user.output / name).write_text(f"one line\nanother with {text}.")
        found = json.loads(user.give("privacy", "check", str(user.output), "--json", ends_with=(1,)))["findings"]
    finally:
        for name in planted:
            (user.output / name).unlink()
    assert {finding["place"] for finding in found} == {"line 2"}
    assert [text for name, text in planted.items() if name not in {finding["file"] for finding in found}] == []


def _canaries_of_good_files(user: User) -> set[str]:
    """Return the canaries of the first study of each format, of the tables, and one of each element."""
    rows = [row for row in user.archive.studies if int(re.sub(r"\D", "", str(row["study_id"])[len(MARK) :])) < 4]
    paths = [user.archive.root / str(row[column]) for row in rows for column in ("uri", "mask_uri")]
    contents = b"".join(path.read_bytes() for path in paths) + repr(rows).encode()
    names = {match.decode() for match in re.findall(MARK.encode() + rb"[a-z0-9]+", contents)}
    for file in user.output.glob("_private/runs/*/evaluation/names.pq"):
        names |= {name for name in pq.ParquetFile(file).read()["own_name"].to_pylist() if MARK in name}
    return names - {canary("house")}  # the creator of private elements is a maker, which privacy.allowed has
