"""Pictures that kill or hang whoever decodes them, for tests: the image library is trapped, not the product."""

import io
import textwrap
from pathlib import Path

from PIL import Image

KILLER, HANGER, GLUTTON, KILLED_ONCE, KILLED, GREEDY_AND_KILLED = ((40, width) for width in range(41, 47))
"""Sizes (height, width) that spring a trap: a segmentation fault, an endless wait that never lets Python's lock go, a
greed for memory beyond the process's limit; and, as the kernel kills where memory runs out, a SIGKILL that comes once,
one that comes every time, and one that comes once `GREED_BYTES` were taken."""

GREED_BYTES = 600 << 20

_SITE = """
    import ctypes, os, signal, time
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
        if (height, width) == {killed_once} and not Path({marker!r}).exists():
            Path({marker!r}).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if (height, width) == {killed}:
            os.kill(os.getpid(), signal.SIGKILL)
        if (height, width) == {greedy_and_killed}:
            taken = b"1" * {greed_bytes}
            time.sleep(0.5)  # out of memory, the kernel tries to find some first
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self)

    ImageFile.ImageFile.load = trapped
"""


def set_traps(directory: Path) -> Path:
    """A directory that, on PYTHONPATH, traps the image library of every Python process."""
    site = textwrap.dedent(_SITE).format(
        killer=KILLER,
        hanger=HANGER,
        glutton=GLUTTON,
        killed_once=KILLED_ONCE,
        killed=KILLED,
        greedy_and_killed=GREEDY_AND_KILLED,
        greed_bytes=GREED_BYTES,
        marker=str(directory / "killed-once"),
    )
    (directory / "sitecustomize.py").write_text(site)
    return directory


def trap(size: tuple[int, int], *, mode: str = "RGB") -> bytes:
    """A sound PNG of that size."""
    buffer = io.BytesIO()
    Image.new(mode, (size[1], size[0])).save(buffer, "PNG")
    return buffer.getvalue()
