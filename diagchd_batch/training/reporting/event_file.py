"""The figures of a fold as a file of events, which TensorBoard reads.

TensorFlow's own `tf.summary.scalar` needs TensorBoard to be installed, so the events are written as records here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

FILE_NAME = "events.out.tfevents.0.fold"
"""TensorBoard reads files whose names contain ``tfevents``."""

_VERSION = "brain.Event:2"
_VALIDATION = "validation_"
_NO_FIGURES = {"stage", "epoch"}


def write_events(path: Path, history: Sequence[Mapping[str, Any]], times_s: Sequence[float]) -> None:
    """Write a file with one event for each epoch. A step is the number of an epoch among those of all stages.

    Tags are such as ``loss/training``, ``loss/validation`` and ``learning_rate``.

    Args:
        path: The file, which is replaced.
        history: One row for each epoch (`fold_task.FoldResult.history`).
        times_s: The Unix time at which each epoch ended.
    """
    begun_s = times_s[0] if times_s else 0.0
    events = [tf.compat.v1.Event(wall_time=begun_s, file_version=_VERSION)]
    for step, (row, time_s) in enumerate(zip(history, times_s, strict=True)):
        values = [
            tf.compat.v1.Summary.Value(tag=_tag(name), simple_value=value)
            for name, value in row.items()
            if name not in _NO_FIGURES
        ]
        events.append(tf.compat.v1.Event(wall_time=time_s, step=step, summary=tf.compat.v1.Summary(value=values)))
    with tf.io.TFRecordWriter(str(path)) as file:
        for event in events:
            file.write(event.SerializeToString())


def _tag(name: str) -> str:
    if name == "learning_rate":
        return name
    return f"{name.removeprefix(_VALIDATION)}/{'validation' if name.startswith(_VALIDATION) else 'training'}"
