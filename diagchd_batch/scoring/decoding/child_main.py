"""The process of an isolated decoder: it reads requests from its parent, decodes and answers. It ends with its parent.

`isolated` runs this module as a program. It imports only what decoding needs, so that it starts in a fraction of a
second.
"""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.in_process import InProcessDecoder, MaskRequest
from diagchd_batch.scoring.decoding.messages import receive, send, settings_from_json

Answer = tuple[dict[str, Any], bytes | memoryview]

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main(descriptor: int, parent_pid: int, settings_json: str) -> None:
    """Answer requests until the parent closes the connection.

    Args:
        descriptor: The file descriptor of this end of the connection.
        parent_pid: The process id of the parent.
        settings_json: The settings, from `messages.settings_to_json`.
    """
    _die_with_parent(parent_pid)
    settings, memory_bytes = settings_from_json(settings_json)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    decoder = InProcessDecoder(settings, ByteBudget(sys.maxsize))
    with Connection(descriptor) as connection:
        while True:
            try:
                request, data = receive(connection)
            except (EOFError, OSError):
                return
            try:
                answer, payload = _answer(decoder, request, data)
            except ItemError as error:
                answer, payload = {"code": error.code.value, "detail": error.detail}, b""
            send(connection, answer, payload)


def _answer(decoder: InProcessDecoder, request: dict[str, Any], data: bytes) -> Answer:
    match request.pop("do"):
        case "open":
            return {"n_frames": decoder.open(data)}, b""
        case "frame":
            frame = decoder.frame(request["index"])
            header = {
                "source_height": frame.source_height,
                "source_width": frame.source_width,
                "metadata": asdict(frame.metadata),
                "region": asdict(frame.region),
            }
            return header, np.ascontiguousarray(frame.image_hwc_u8).data.cast("B")
        case "mask":
            return {}, np.ascontiguousarray(decoder.mask(data, MaskRequest(**request))).data.cast("B")
        case "identifying_values":
            found = decoder.identifying_values(data if request["of_mask"] else None)
            return {"values": found.values, "complete": found.complete}, b""
        case unknown:
            raise ValueError(f"unknown request {unknown!r}")


def _die_with_parent(parent_pid: int) -> None:
    """Have the kernel end this process with its parent; otherwise a decoder that hangs would outlive it. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # the parent died before the call
            sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
