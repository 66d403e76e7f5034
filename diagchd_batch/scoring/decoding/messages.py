"""Messages between an isolated decoder and its parent: a JSON header, then bytes. Nothing received is executed."""

import json
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from diagchd_batch.images.formats import FrameMetadata
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.regions.frame_region import FrameRegion, RegionSource
from diagchd_batch.scoring.decoding.in_process import DecodeSettings


def send(connection: Connection, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    """Send one message.

    Args:
        connection: The connection to the other process.
        header: JSON values.
        payload: The bytes of a file or of pixels.
    """
    connection.send_bytes(json.dumps(header).encode())
    connection.send_bytes(payload)


def receive(connection: Connection) -> tuple[dict[str, Any], bytes]:
    """Return the header and the bytes of the next message. Raises EOFError or OSError if the other side has ended."""
    return json.loads(connection.recv_bytes()), connection.recv_bytes()


def settings_to_json(settings: DecodeSettings, memory_bytes: int) -> str:
    """Return the settings of a decoder as JSON, for `settings_from_json`.

    Args:
        settings: How files are decoded.
        memory_bytes: The memory limit of the child process.
    """
    label_map = None if settings.label_map is None else list(settings.label_map.items())  # JSON has no integer keys
    return json.dumps(asdict(settings) | {"label_map": label_map, "memory_bytes": memory_bytes})


def settings_from_json(text: str) -> tuple[DecodeSettings, int]:
    """Return the settings and the memory limit in bytes."""
    fields = json.loads(text)
    memory_bytes, limits, label_map = (fields.pop(name) for name in ("memory_bytes", "limits", "label_map"))
    settings = DecodeSettings(DecodeLimits(**limits), label_map=label_map and dict(label_map), **fields)
    return settings, memory_bytes


def metadata_from_json(fields: dict[str, Any]) -> FrameMetadata:
    """Return the metadata of a frame from the JSON values of its fields."""
    sector = fields["sector"]  # JSON has no tuples
    return FrameMetadata(**fields | {"sector": None if sector is None else tuple(sector)})


def region_from_json(fields: dict[str, Any]) -> FrameRegion:
    """Return the region of a frame from the JSON values of its fields."""
    return FrameRegion(**fields | {"source": RegionSource(fields["source"])})
