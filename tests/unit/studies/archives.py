"""Archives for tests of planning: files on disk, manifests and simulated listings."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import PlanPreview, preview_plan

PSEUDONYMIZER = Pseudonymizer(b"a key for tests, 32 bytes long..")


class SimulatedListing:
    """A simulated source. It has only a listing, because planning needs nothing else."""

    uri = "simulated"

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = keys

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        for seen, key in enumerate(self.keys, start=1):
            yield ObjectInfo(key, size_bytes=seen, etag=f"etag-{seen:032d}")
            if progress:
                progress(seen)


class Archive:
    """An archive in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "archive"
        self.root.mkdir()

    def add_files(self, *keys: str, data: bytes = b"not opened while planning") -> "Archive":
        for key in keys:
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return self

    def write_table(self, text: str, name: str = "table.csv") -> str:
        (self.directory / name).write_text(text, encoding="utf-8")
        return str(self.directory / name)

    def write_rows(self, rows: Iterable[Iterable[str]], name: str = "table.csv") -> str:
        with (self.directory / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return str(self.directory / name)

    def config(self, manifest: str | None = None, layout: str = "tree") -> InputConfig:
        return InputConfig(uri=str(self.root), layout="manifest" if manifest else layout, manifest=manifest)

    def preview(self, manifest: str | None = None, layout: str = "tree") -> PlanPreview:
        """Preview the plan of the archive. `manifest` is the text of a CSV file."""
        path = self.write_table(manifest, "manifest.csv") if manifest is not None else None
        return preview_plan(self.config(path, layout), ShardsConfig(), open_store(str(self.root)), PSEUDONYMIZER)
