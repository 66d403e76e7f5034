from pathlib import Path

import pytest

from tests.unit.studies.archives import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)
