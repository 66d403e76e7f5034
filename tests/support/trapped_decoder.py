"""Pictures that kill or hang whoever decodes them, for tests: the image library is trapped, not the product."""

import io
import textwrap
from pathlib import Path

from PIL import Image

KILLER, HANGER, GLUTTON, KILLS_ONCE = (40, 41), (40, 42), (40, 43), (40, 44)
"""Sizes (height, width) that spring a trap: a segmentation fault, an endless wait that never lets Python's lock go, a
greed for memory, and a kill that happens once."""

_SITE = """
    import ctypes, os, signal
    from pathlib import Path
    from PIL import ImageFile

    load = ImageFile.ImageFile.load

    def trapped(self):
        height, width = self.size[1], self.size[0]
        if (height, width) == {killer}:
            os.kill(os.getpid(), signal.SIGSEGV)
        if (height, width) == {hanger}:
            ctypes.PyDLL(None).sleep(3600)
        if (height, width) == {glutton}:
            bytearray(64 << 30)
        if (height, width) == {kills_once} and not Path({marker!r}).exists():
            Path({marker!r}).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self)

    ImageFile.ImageFile.load = trapped
"""


def set_traps(directory: Path) -> Path:
    """A directory that, on PYTHONPATH, traps the image library of every Python process."""
    site = textwrap.dedent(_SITE).format(
        killer=KILLER, hanger=HANGER, glutton=GLUTTON, kills_once=KILLS_ONCE, marker=str(directory / "killed-once")
    )
    (directory / "sitecustomize.py").write_text(site)
    return directory


def trap(size: tuple[int, int], *, mode: str = "RGB") -> bytes:
    """A sound PNG of that size."""
    buffer = io.BytesIO()
    Image.new(mode, (size[1], size[0])).save(buffer, "PNG")
    return buffer.getvalue()
