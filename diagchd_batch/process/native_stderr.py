"""Keeps native libraries from writing to the terminal."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_lock = threading.Lock()
_silenced: list[int] = []  # for each block that is entered: what descriptor 2 led to before


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Discard what is written to file descriptor 2 within the block.

    The native libraries of Ray and TensorFlow print greetings there when they start. Their errors are exceptions.
    """
    with _lock, Path(os.devnull).open("wb") as nothing:
        _silenced.append(os.dup(2))
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        with _lock:
            saved = _silenced.pop()
            os.dup2(saved, 2)
            os.close(saved)


def written_past_silence(text: str) -> bool:
    """Write a text to where file descriptor 2 leads outside of `native_stderr_silenced`.

    Args:
        text: The text, with its line's end.

    Returns:
        False if no block is entered; then nothing was written.
    """
    with _lock:
        if _silenced:
            os.write(_silenced[0], text.encode())
        return bool(_silenced)
