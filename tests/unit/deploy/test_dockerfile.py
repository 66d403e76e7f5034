"""The Dockerfile is checked as text. These tests need no container engine and build no image."""

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest

from tests.unit.deploy.manifests import ROOT, manifest, pod_templates

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield (instruction, arguments), with continuation lines joined and without comments."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def _stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return stage name → (base image, instructions)."""
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in _instructions(DOCKERFILE.read_text(encoding="utf-8")):
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            current = []
            stages[name] = (base, current)
        else:
            current.append((word, rest))
    return stages


STAGES = _stages()
BEFORE = dict(i for i in _instructions(DOCKERFILE.read_text(encoding="utf-8").split("FROM")[0]))


def test_base_image_is_pinned_and_given_once() -> None:
    name, _, tag = BEFORE["ARG"].removeprefix("PYTHON_IMAGE=").partition(":")
    assert name == "python"
    version = re.match(r"(\d+)\.(\d+)\.(\d+)-slim-", tag)
    assert version, "pin the patch version"
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert int(low) <= int(version[2]) < int(high)
    assert {base for base, _ in STAGES.values()} <= {"${PYTHON_IMAGE}", *STAGES}


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_target_runs_as_the_user_of_the_manifests(target: str) -> None:
    _, instructions = STAGES[target]
    (user,) = [rest for word, rest in instructions if word == "USER"]
    for name in ("rayjob", "raycluster", "nightly-cronjob"):
        for _, template in pod_templates(manifest(name)):
            context = template["spec"]["securityContext"]
            assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    words = [word for word, _ in instructions]
    assert "USER" not in words[: len(words) - 3], "only the working directory and the command may follow"
    assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :])


def test_gpu_target_asks_for_the_driver_and_differs_by_dependencies_only() -> None:
    def copies(target: str) -> list[str]:
        return [rest for word, rest in STAGES[target][1] if word == "COPY"]

    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in dict(STAGES["gpu"][1])["ENV"]
    assert [c.replace("dependencies-gpu", "dependencies") for c in copies("gpu")] == copies("cpu")


def test_every_installation_is_pinned() -> None:
    installations = [
        command
        for _, instructions in STAGES.values()
        for word, rest in instructions
        if word == "RUN"
        for command in rest.split("&&")
        if "pip install" in command or "pip wheel" in command
    ]
    assert len(installations) >= 5
    for command in installations:
        pinned = "--constraint constraints.txt" in command or "--no-deps" in command or "==" in command
        assert pinned, command
    direct = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["gpu"]]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower() for requirement in direct}
    assert names <= PINS
    assert {pin for pin in PINS if pin.startswith("nvidia-")}, "pin CUDA's libraries, too"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("dependencies", PROJECT["dependencies"]), ("dependencies-gpu", PROJECT["optional-dependencies"]["gpu"])],
)
def test_requirements_are_those_of_the_project(stage: str, expected: list[str]) -> None:
    """The command from the Dockerfile is run here."""
    (script,) = [
        shlex.split(re.search(r'python (-c "[^"]+")', rest)[1])[1]
        for word, rest in STAGES[stage][1]
        if word == "RUN" and "tomllib" in rest
    ]
    listed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == expected


def _reaches_the_builder(path: str) -> bool:
    """Return whether `.dockerignore` admits a path. The last pattern that matches it or a parent directory decides."""
    admitted = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        bare = pattern.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(fnmatch.fnmatchcase(prefix, bare) for prefix in prefixes) or ("**/" in pattern and bare in parts):
            admitted = pattern.startswith("!")
    return admitted


def test_builder_gets_what_it_copies_and_the_wheel_needs_and_nothing_private() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = ["pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"], *wheel["packages"]]
    for path in [*needed, *wheel["force-include"]]:
        assert (ROOT / path).exists(), path
        assert _reaches_the_builder(path), path
    assert _reaches_the_builder("diagchd_batch/cli/main.py")
    for path in (
        ".git/config",
        ".venv/bin/python",
        "out/_private/id_key",
        "tests/conftest.py",
        ".env",
        "deploy",
    ):
        assert not _reaches_the_builder(path), path
    assert not _reaches_the_builder("diagchd_batch/__pycache__/errors.cpython-312.pyc")


def test_no_secret_is_baked_in() -> None:
    for _, instructions in STAGES.values():
        for word, rest in instructions:
            if word in {"ARG", "ENV"}:
                assert not re.search("(KEY|TOKEN|SECRET|PASSWORD)=", rest)
            assert word != "ADD", "fetches packages that are not pinned"
