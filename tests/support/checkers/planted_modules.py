"""Files with the names of libraries, which a process must not import from its working directory."""

from pathlib import Path

SHADOWED = ("h5py", "numpy", "pyarrow", "ray", "typer")

IMPORTED = "was-imported"
"""The file that appears beside the modules if one of them was imported."""


def plant_modules(directory: Path) -> None:
    """Write modules with the names of libraries that leave a mark and end the process that imports one.

    Args:
        directory: The directory that they are written into.
    """
    mark = directory / IMPORTED
    for name in SHADOWED:
        (directory / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close(); raise SystemExit(9)")
