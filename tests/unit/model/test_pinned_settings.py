"""Settings of another project change no score and stop no run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagchd_batch.cluster.node_checks.python_requirements import unsuitable_node
from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model.pinned_settings import READ_AT_START, pin_settings
from tests.unit.images.pictures import encoded, noise_hwc_u8

PREDICT = """
import json, sys
import numpy as np
from diagchd_batch.model import Predictor, resolve_model
from diagchd_batch.training.recipe import step_loop
model = Predictor(resolve_model("diagchd-compact", "bundled", "float32"), 2, 1)
images = np.random.default_rng(0).integers(0, 256, (2, 128, 160, 3), np.uint8)
prediction = model.predict(images)
import keras
figures = [prediction.chd_probability_b_f32.tolist(), prediction.label_maps_bhw_u8.sum().item()]
print(json.dumps([*figures, keras.config.floatx()]))
"""


def predicted(home: Path, **environment: str) -> list[object]:
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS", "TF_"))}
    done = subprocess.run(
        [sys.executable, "-c", PREDICT],
        env={**kept, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_what_changes_a_number_is_taken_away_and_the_rest_stays() -> None:
    environ = {
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": "/home/other/.keras",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "XLA_FLAGS": "--xla_gpu_autotune_level=0",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NVIDIA_TF32_OVERRIDE": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":16:8",
        "NPY_DISABLE_CPU_FEATURES": "AVX2",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable",
        "JPEGMEM": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "CUDA_VISIBLE_DEVICES": "1",
        "HOME": "/home/other",
    }
    pin_settings(environ)
    assert environ == {
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": "/dev/null/keras",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "CUDA_VISIBLE_DEVICES": "1",
        "HOME": "/home/other",
    }


def test_a_limit_on_the_memory_of_libjpeg_makes_no_sound_file_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise_hwc_u8(151, 203), "JPEG", progressive=True)
    monkeypatch.setenv("JPEGMEM", "1")
    with pytest.raises(ItemError, match="decode_error"):
        open_image(data, DecodeLimits()).frame(0)
    pin_settings(os.environ)
    assert open_image(data, DecodeLimits()).frame(0).shape == (151, 203, 3)


@pytest.mark.parametrize("name", READ_AT_START)
def test_a_node_whose_workers_started_with_a_setting_that_cannot_be_removed_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsuitable_node() == ""
    monkeypatch.setenv(name, "x")
    assert name in unsuitable_node()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"floatx": "float16", "epsilon": 1e-2, "backend": "tensorflow", "image_data_format": "channels_first"},
        {"backend": "theano", "floatx": "float32"},
    ],
)
def test_settings_of_another_project_change_nothing(tmp_path: Path, settings: dict[str, object]) -> None:
    clean = predicted(tmp_path / "clean")
    assert not list((tmp_path / "clean").iterdir())  # Keras leaves no file of its own either.
    (tmp_path / "other" / ".keras").mkdir(parents=True)
    (tmp_path / "other" / ".keras" / "keras.json").write_text(json.dumps(settings))
    other = predicted(
        tmp_path / "other", KERAS_BACKEND="jax", TF_ENABLE_ONEDNN_OPTS="0", TF_ENABLE_AUTO_MIXED_PRECISION="1"
    )
    assert other == clean
