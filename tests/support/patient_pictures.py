"""Images that are not decoded until a test releases them, and a clock that a test can move forward."""

import textwrap
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diagchd_batch.studies.identifiers import Pseudonymizer
from tests.support.scoring_runs import ID_KEY, write_cohort

PATIENT = (48, 66)
"""The size (height, width) of images that are not decoded until they are released."""

JUMP_S = 7200.0

_SITE = """
    import time
    from pathlib import Path
    from PIL import ImageFile

    load, now = ImageFile.ImageFile.load, time.time
    released, jumped = Path({released!r}), Path({jumped!r})

    def patient(self):
        while (self.size[1], self.size[0]) == {size} and not released.exists():
            time.sleep(0.05)
        return load(self)

    def wall_clock():  # by its name, Ray can pickle it
        return now() + ({jump_s} if jumped.exists() else 0.0)

    ImageFile.ImageFile.load = patient
    time.time = wall_clock
"""


class Patience:
    """Control over waiting images and the clock, in processes that have `directory` on their PYTHONPATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._released, self._jumped = directory / "released", directory / "jumped"
        site = _SITE.format(size=PATIENT, released=str(self._released), jumped=str(self._jumped), jump_s=JUMP_S)
        (directory / "sitecustomize.py").write_text(textwrap.dedent(site))

    def release(self) -> None:
        self._released.touch()

    def jump(self) -> None:
        """Move the clock of those processes forward by JUMP_S."""
        self._jumped.touch()


def make_patient(path: Path) -> None:
    """Change a PNG file so that it is decoded by Pillow, which waits, and not by the decoder of plain PNG files."""
    international_text = PngInfo()
    international_text.add_itxt("Comment", "waits for its release")
    Image.open(path).resize(PATIENT[::-1]).save(path, pnginfo=international_text)


def write_half_patient_cohort(directory: Path, n_images: int) -> Path:
    """Write a cohort. The images in the later half of its plan are not decoded until they are released."""
    write_cohort(directory, n_images)
    tokens = Pseudonymizer(bytes.fromhex(ID_KEY))  # the tokens decide the order of a plan
    studies = sorted(directory.iterdir(), key=lambda study: tokens.study(study.name))
    for study in studies[len(studies) // 2 :]:
        for path in study.iterdir():
            make_patient(path)
    return directory
