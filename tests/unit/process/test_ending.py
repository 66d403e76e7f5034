"""The exit code of a command, where a library crashes while the interpreter ends."""

import subprocess
import sys
import textwrap

import pytest

_CRASHES = """
    import atexit, os, signal, sys, types
    from diagchd_batch.process.ending import end_process
    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    if {with_ray}:
        sys.modules["ray"] = types.ModuleType("ray")
    print("a result", end="")
    print("a message", end="", file=sys.stderr)
    end_process({exit_code})
"""


def _ended(*, with_ray: bool, exit_code: int) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(_CRASHES).format(with_ray=with_ray, exit_code=exit_code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("exit_code", [0, 1, 3])
def test_a_crash_of_rays_library_at_the_end_does_not_change_the_exit_code(exit_code: int) -> None:
    ended = _ended(with_ray=True, exit_code=exit_code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_code, "a result", "a message")


def test_without_ray_the_interpreter_ends_as_usual() -> None:
    assert _ended(with_ray=False, exit_code=1).returncode < 0
