"""Reads the commands of a tutorial page and the output that the page shows for them, and runs them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```bash(?: exit=(\d+))?\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A block of shell commands, the exit code of its last one, and lines that are expected among the output.

    In an expected line `…` stands for any text, and one space for any number of spaces.
    """

    commands: str
    exit_code: int
    expected: tuple[str, ...]

    def run(self, directory: Path, environment: dict[str, str]) -> str:
        """Run the block in `directory`; fail unless exit code and output are as the page says. Return the output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.commands],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == self.exit_code, f"{self.commands}\n{done.stdout}"
        printed = re.sub(r"\s+", " ", done.stdout)
        for line in self.expected:
            pattern = ".*?".join(re.escape(part.strip()) for part in line.split("…"))
            assert re.search(pattern, printed), f"{self.commands}\ndoes not print {line!r}, but\n{done.stdout}"
        return done.stdout


def steps(page: Path) -> list[Step]:
    """Return the page's steps in their order."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [
        Step(commands, int(exit_code or 0), tuple(line for line in expected.splitlines() if line.strip()))
        for exit_code, commands, expected in found
    ]
