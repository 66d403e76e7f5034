"""The interpreter for engines that need other versions than this package."""

import os
from typing import NoReturn

import pytest


def missing_engine(what: str, remedy: str) -> NoReturn:
    """Skip the test, or fail it if the environment variable REQUIRE_ENGINES is set."""
    if os.environ.get("REQUIRE_ENGINES"):
        pytest.fail(f"{what} is not installed; {remedy}")
    pytest.skip(f"{what} is not installed; {remedy}")


def engines_apart() -> str:
    """Return the interpreter that ENGINES_APART names."""
    if python := os.environ.get("ENGINES_APART"):
        return python
    missing_engine(
        "an engine",
        "make a virtual environment from tests/support/queries/engines_apart.txt and set ENGINES_APART to its Python",
    )
