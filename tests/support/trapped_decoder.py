"""Images that kill or hang the process that decodes them. The image library is patched; the code under test is not."""

import io
import textwrap
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KILLER, HANGER, GLUTTON, KILLED_ONCE, KILLED, GREEDY_AND_KILLED = ((40, width) for width in range(41, 47))
"""Sizes (height, width) of images that trigger a fault when they are decoded. In this order:

1. a segmentation fault,
2. an endless wait that never releases Python's global lock,
3. an allocation beyond the process's memory limit,
4. a SIGKILL at the first time only, as the kernel sends it when memory runs out,
5. a SIGKILL every time,
6. a SIGKILL after `GREED_BYTES` have been allocated.
"""

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
    """Prepare `directory` so that it patches the image library of every Python process that has it on PYTHONPATH."""
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
    """Return a valid PNG of this size. It has a compressed text, so that `plain_png` leaves it to Pillow."""
    buffer = io.BytesIO()
    texts = PngInfo()
    texts.add_text("Comment", "a trap", zip=True)
    Image.new(mode, (size[1], size[0])).save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()
