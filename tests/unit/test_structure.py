"""The package's structure: which way imports go, who may import the heavy libraries, how long files are."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import diagchd_batch

PACKAGE = Path(diagchd_batch.__file__).parent
LAYERS = [
    {"errors", "failures", "bundled", "output_layout", "process", "retries", "uris", "wording"},
    {"config", "sources", "storage"},
    {"images", "model", "results", "statistics", "studies"},
    {"cluster", "evaluation", "exports", "report", "scoring", "training"},
    {"runs"},
    {"cli"},
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {
    "ray": {"scoring", "cluster"},
    "keras": {"model", "training"},
    "tensorflow": {"model", "training"},
    "jax": {"model"},
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way_and_heavy_libraries_stay_where_they_belong(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in _imports(path):
        top, *rest = name.split(".")
        if top == "diagchd_batch" and rest and rest[0] in LAYER_OF and own in LAYER_OF:
            assert LAYER_OF[rest[0]] <= LAYER_OF[own], f"{own} imports {rest[0]}, which lies above it"
        if top in HEAVY:
            assert own in HEAVY[top], f"{top} is imported outside {sorted(HEAVY[top])}"


def test_every_part_of_the_package_has_a_layer():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts - {"__init__", "__main__"} <= set(LAYER_OF)


def test_files_stay_small():
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]
    assert max(lengths) <= 600
    assert median(lengths) < 150


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["--version"], ["config", "schema"]])
def test_light_commands_load_neither_ray_nor_tensorflow(arguments):
    code = (
        "import sys\n"
        "from diagchd_batch.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'ray', 'tensorflow', 'keras', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'boto3', 'duckdb'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_help_answers_in_under_half_a_second():
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'diagchd_batch', '--help'], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    # processor seconds, not wall time: the machine may be busy with other things
    runs = [subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True) for _ in "123"]
    assert min(float(done.stdout) for done in runs) < 0.5
