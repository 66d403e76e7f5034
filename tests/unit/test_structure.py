"""The package's structure: which way imports go, who may import heavy libraries, names and lengths of files."""

import ast
import graphlib
import itertools
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import diagchd_batch

PACKAGE = Path(diagchd_batch.__file__).parent
LAYERS = [
    {"bundled_files", "exit_codes", "failure_codes", "wording"},
    {"errors", "output_layout", "process", "retries", "uris"},
    {"config", "json_records", "sources", "storage"},
    {"images", "model", "results", "statistics", "studies"},
    {"cluster", "evaluation", "exports", "report", "scoring", "training"},
    {"runs"},
    {"cli"},
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {
    "ray": {"cluster", "scoring.driver", "training"},
    "keras": {"model", "training"},
    "tensorflow": {"model", "training"},
    "jax": {"model", "training"},
}
MAX_MODULES = 12
LISTS_OF_COMMANDS = {"cli", "runs"}


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
def test_imports_go_one_way_and_heavy_libraries_stay_where_they_belong(path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in _imports(path):
        top, *rest = name.split(".")
        if top == "diagchd_batch" and rest and rest[0] in LAYER_OF and own in LAYER_OF:
            assert LAYER_OF[rest[0]] <= LAYER_OF[own], f"{own} imports {rest[0]}, which lies above it"
        if top in HEAVY:
            package = ".".join(path.relative_to(PACKAGE).parts)
            assert any(package.startswith(f"{allowed}.") for allowed in HEAVY[top]), f"{top} outside {HEAVY[top]}"


def _graph() -> dict[str, set[str]]:
    """Return for each module of the package, by its dotted name, those that it imports."""
    names = {".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {}
    for name, path in names.items():
        found = _imports(path) & set(names)
        # `from package import module` also names the package, which then is not what is meant
        graph[name] = {one for one in found if not any(other.startswith(f"{one}.") for other in found)} - {name}
    graph[f"{PACKAGE.name}.sources"] -= {f"{PACKAGE.name}.storage"}  # `open_source` opens a store as a source
    return graph


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return one circle of imports, or nothing if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [error.args[1]]
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert _circles(_graph()) == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    packages: dict[str, set[str]] = {}
    for name, imported in _graph().items():
        own = _package(name)
        packages.setdefault(own, set()).update({_package(other) for other in imported} - {own})
    assert _circles(packages) == []


def _package(name: str) -> str:
    """Return the part of the package that a module belongs to; the four parts of `scoring` count by themselves."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["scoring"] else parts[0] if parts else ""


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_no_folder_has_too_many_modules_and_no_two_names_are_nearly_equal(folder) -> None:
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert folder.name in LISTS_OF_COMMANDS or len(names) <= MAX_MODULES
    for one, other in itertools.combinations(names, 2):
        assert not _nearly_equal(one, other), f"{folder.name}/{one}.py and {folder.name}/{other}.py"


def _nearly_equal(one: str, other: str) -> bool:
    """Return whether two names differ by one letter or by an ending: actor and actors, watch and watchdog."""
    short, long = sorted((one, other), key=len)
    if long.startswith(short):
        return long[len(short)] not in "_0123456789"
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) == 1
    return len(long) == len(short) + 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


@pytest.mark.parametrize(
    ("one", "other"), [("actor", "actors"), ("watch", "watchdog"), ("plan", "plane"), ("a1", "b1")]
)
def test_names_that_are_nearly_equal_are_found(one, other) -> None:
    assert _nearly_equal(one, other)
    assert not _nearly_equal("s3", "s3_client")


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts - {"__init__", "__main__"} <= set(LAYER_OF)


def test_files_stay_small() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]
    assert max(lengths) <= 600
    assert median(lengths) < 150


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["--version"], ["config", "schema"]])
def test_light_commands_load_neither_ray_nor_tensorflow(arguments) -> None:
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


def test_help_answers_in_under_half_a_second() -> None:
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'diagchd_batch', '--help'], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    # processor seconds, not wall time: the machine may be busy with other things
    runs = [subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True) for _ in "123"]
    assert min(float(done.stdout) for done in runs) < 0.5
