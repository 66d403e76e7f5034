"""A decoder needs neither TensorFlow nor Ray, in this process or in its child."""

import subprocess
import sys

import pytest

from tests.unit.scoring.made_inputs import png

DECODE = """
import sys
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
settings = DecodeSettings(DecodeLimits(), 24, 32, None)
if sys.argv[1] == "isolated":
    decoder = IsolatedDecoder(settings, timeout_s=60, memory_bytes=4 << 30)
else:
    decoder = InProcessDecoder(settings, ByteBudget(1 << 20))
assert decoder.open(sys.stdin.buffer.read()) == 1
assert decoder.frame(0).image_hwc_u8[0, 0, 0] == 77
decoder.close()
sys.exit(str(found) if (found := {"tensorflow", "keras", "ray"} & set(sys.modules)) else 0)
"""


@pytest.mark.parametrize("where", ["in process", "isolated"])
def test_a_file_is_decoded_without_tensorflow_and_ray(where: str) -> None:
    command = [sys.executable, "-c", DECODE, where]
    done = subprocess.run(command, input=png(77), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def test_the_child_s_program_imports_neither() -> None:
    code = (
        "import sys; import diagchd_batch.scoring.decoding.child_main;"
        "sys.exit(str(found) if (found := {'tensorflow', 'keras', 'ray', 'boto3', 'pandas'} & set(sys.modules)) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
