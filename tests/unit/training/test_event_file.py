"""Events for TensorBoard: each figure of each epoch, under the tag of its part."""

from pathlib import Path

import pytest
import tensorflow as tf

from diagchd_batch.training.reporting.event_file import FILE_NAME, write_events

HISTORY = [
    {"stage": "segmentation", "epoch": 0, "learning_rate": 0.25, "loss": 0.5, "validation_loss": 0.75},
    {"stage": "segmentation", "epoch": 1, "learning_rate": 0.125, "loss": 0.25},
    {"stage": "classifier", "epoch": 0, "learning_rate": 0.5, "loss": 1.0, "validation_auc": 0.5},
]


def test_tensorflow_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    write_events(path, HISTORY, [1.0, 2.0, 3.0])
    first, *events = tf.compat.v1.train.summary_iterator(str(path))
    assert first.file_version == "brain.Event:2"
    found = [
        (event.step, event.wall_time, {value.tag: value.simple_value for value in event.summary.value})
        for event in events
    ]
    assert found == [
        (0, 1.0, {"learning_rate": 0.25, "loss/training": 0.5, "loss/validation": 0.75}),
        (1, 2.0, {"learning_rate": 0.125, "loss/training": 0.25}),
        (2, 3.0, {"learning_rate": 0.5, "loss/training": 1.0, "auc/validation": 0.5}),
    ]


def test_a_time_is_needed_for_each_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_events(tmp_path / FILE_NAME, HISTORY, [1.0])
