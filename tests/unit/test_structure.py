"""The package's structure: the direction of imports, the users of heavy libraries, and names and lengths of files."""

import ast
import graphlib
import itertools
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import diagchd_batch

PACKAGE = Path(diagchd_batch.__file__).parent
LAYERS = [
    {"bundled_files", "exit_codes", "failure_codes", "wording"},
    {"escaping", "errors", "output_layout", "process", "retries", "table_format", "uris"},
    {"config", "json_records", "sources", "storage"},
    {"images", "model", "results", "statistics", "studies", "workspace"},
    {"cluster", "evaluation", "exports", "privacy", "report", "scoring", "training"},
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
REGISTERED = re.compile(r"diagchd_batch(\.[a-z_0-9]+)+(:\w+)?")
MAX_MODULES = 12
COMMANDS = {path.stem.removesuffix("_runs") for path in (PACKAGE / "cli").glob("*.py")} - {"__init__", "main"}
LISTS_OF_COMMANDS = {PACKAGE / "cli", PACKAGE / "runs"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _named_in_registries(path: Path) -> set[str]:
    """Return the modules that a registry names as text, to import them when they are needed."""
    constants = (
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    )
    return {text.partition(":")[0] for text in constants if isinstance(text, str) and REGISTERED.fullmatch(text)}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way_and_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in _imports(path) | _named_in_registries(path):
        top, *rest = name.split(".")
        if top == "diagchd_batch" and rest and rest[0] in LAYER_OF and own in LAYER_OF:
            assert LAYER_OF[rest[0]] <= LAYER_OF[own], f"{own} imports {rest[0]}, which is in a higher layer"
        if top in HEAVY:
            package = ".".join(path.relative_to(PACKAGE).parts)
            assert any(package.startswith(f"{allowed}.") for allowed in HEAVY[top]), f"{top} outside {HEAVY[top]}"


def _graph(package: Path) -> dict[str, set[str]]:
    """Return for each module of a package, by its dotted name, those that it imports."""
    paths = sorted(package.rglob("*.py"))
    names = {".".join((package.name, *path.relative_to(package).with_suffix("").parts)): path for path in paths}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {}
    for name, path in names.items():
        found = _imports(path) & set(names)
        # `from package import module` also names the package, which is then not the imported module.
        graph[name] = {one for one in found if not any(other.startswith(f"{one}.") for other in found)} - {name}
    return graph


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of imports, or nothing if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def _circles_at_every_depth(graph: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return one circle for each package whose parts import each other in a circle.

    The parts of a package are its modules, and its sub-packages as a whole.
    """
    packages = {
        ".".join(parts[:depth]) for name in graph for parts in [name.split(".")] for depth in range(1, len(parts))
    }
    found = {}
    for package in sorted(packages):
        parts: dict[str, set[str]] = {}
        for name, imported in graph.items():
            if own := _part_of(package, name):
                parts.setdefault(own, set()).update({_part_of(package, other) for other in imported} - {own, ""})
        if circle := _circle(parts):
            found[package] = circle
    return found


def _part_of(package: str, name: str) -> str:
    """Return the sub-package or module of `package` that a module belongs to, or nothing if it lies elsewhere."""
    return name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else ""


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert _circle(_graph(PACKAGE)) == []


def test_no_packages_at_any_depth_import_each_other_in_a_circle() -> None:
    assert _circles_at_every_depth(_graph(PACKAGE)) == {}


@pytest.mark.parametrize(
    ("modules", "circles"),
    [
        ({"a/one.py": "from made.b import other", "b/other.py": ""}, {}),
        ({"a/one.py": "import made.b.other", "b/other.py": "import made.a.two", "a/two.py": ""}, {"made": {"a", "b"}}),
        (
            {
                "a/b/one.py": "from made.a.c.other import x",
                "a/c/other.py": "def f():\n    from made.a.b import two",
                "a/b/two.py": "",
            },
            {"made.a": {"b", "c"}},
        ),
        (
            {"a/b/one.py": "import made.a.own", "a/own.py": "import made.a.b.two", "a/b/two.py": ""},
            {"made.a": {"b", "own"}},
        ),
    ],
)
def test_a_circle_is_found_at_any_depth(tmp_path: Path, modules: dict[str, str], circles: dict[str, Any]) -> None:
    package = tmp_path / "made"
    for name, text in modules.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in (path.parent, *path.parent.parents):
            if folder.is_relative_to(package):
                (folder / "__init__.py").touch()
    graph = _graph(package)
    assert _circle(graph) == []
    assert {package: set(circle) for package, circle in _circles_at_every_depth(graph).items()} == circles


FOLDERS = sorted({path.parent for path in MODULES})
OTHER_FOLDERS = sorted(
    {path.parent for name in ("dataset", "tests/support") for path in (PACKAGE.parent / name).rglob("*.py")}
)

TEST_FOLDERS = sorted({path.parent for path in (PACKAGE.parent / "tests").rglob("*.py")})


def _names(folder: Path) -> list[str]:
    """Return the names of a package's modules and sub-packages."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return sorted(modules | {path.parent.name for path in folder.glob("*/*.py")})


@pytest.mark.parametrize("folder", FOLDERS + OTHER_FOLDERS, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_folder_has_too_many_modules_and_no_two_names_are_nearly_equal(folder: Path) -> None:
    n_modules = len([path for path in folder.glob("*.py") if path.stem != "__init__"])
    assert folder in LISTS_OF_COMMANDS or n_modules <= MAX_MODULES
    for one, other in itertools.combinations(_names(folder), 2):
        assert not _nearly_equal(one, other), f"{folder.name}/{one} and {folder.name}/{other}"


@pytest.mark.parametrize("folder", TEST_FOLDERS, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_folder_of_tests_has_too_many_modules(folder: Path) -> None:
    # tests/unit/cli mirrors a plain list of commands.
    assert folder.name == "cli" or len(list(folder.glob("*.py"))) <= MAX_MODULES


def _nearly_equal(one: str, other: str) -> bool:
    """Return whether two names differ by one letter or by an ending: actor and actors, run and run_state."""
    short, long = sorted((one, other), key=len)
    if long.startswith(short):
        return True
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) == 1
    return len(long) == len(short) + 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


@pytest.mark.parametrize(
    ("one", "other"),
    [("actor", "actors"), ("watch", "watchdog"), ("plan", "plane"), ("a1", "b1"), ("run", "run_state")],
)
def test_names_that_are_nearly_equal_are_found(one: str, other: str) -> None:
    assert _nearly_equal(one, other)
    assert not _nearly_equal("raster", "registry")


SAME_MEANING = {
    "agreement": "how far raters agree",
    "calibration": "whether probabilities are right",
    "cases": "single studies or frames that a page shows",
    "checks": "one probe of a place before a run",
    "cohort": "the studies that are analysed",
    "compare": "two runs are compared",
    "comparison": "two runs",
    "config": "the job file",
    "confusion": "the two-by-two table",
    "curves": "ROC and other curves",
    "database": "temporary DuckDB tables",
    "definitions": "what each figure of a table means",
    "derived_tables": "the Parquet tables of runs and lineages",
    "dicom": "the format DICOM",
    "document": "an HTML file",
    "errors": "exceptions, and how others' become ours",
    "evaluate": "metrics from results",
    "flow": "from planned to analysed studies",
    "formats": "file formats: of images, and of query results",
    "headline": "the rows that stand first",
    "identifying_values": "what files say about patients: how it is kept, and its columns",
    "lineage": "a run and those that it continues",
    "local": "a directory of this machine",
    "multiplicity": "Holm's adjustment",
    "plan": "the frozen list of what a run scores",
    "query": "SQL over an output",
    "registry": "which class or module serves which kind: a new kind is one line there",
    "report": "the HTML report",
    "request_permits": "the permits for requests that a run shares",
    "s3": "an S3 bucket",
    "schemas": "Arrow schemas of tables",
    "scores": "model's or readers' probabilities",
    "segmentation": "masks against reference masks",
    "source": "a place that is read: the protocol and each implementation",
    "sources": "where images come from",
    "subgroups": "studies by the level of a covariate",
    "target_prevalence": "figures reweighted to another prevalence than the cohort's",
    "tables": "named tables: those that users write, and those that an evaluation writes",
    "verify": "whether an output is whole",
}
"""The meaning of each name that several packages have. A name with different meanings must be changed."""


def test_a_name_that_several_packages_have_means_the_same() -> None:
    places: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for name in _names(folder):
            places.setdefault(name, []).append(str(folder.relative_to(PACKAGE)))
    # A command and the module that does its work have the same name on purpose.
    shared = {name for name, folders in places.items() if len(set(folders) - {"cli"}) > 1}
    assert shared - set(SAME_MEANING) == set(), (
        "rename the new module, or add the name's meaning in all packages to SAME_MEANING"
    )


def test_the_architecture_page_lists_packages_in_the_order_of_imports() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    order = re.findall(r"^\*\*`diagchd_batch/(\w+)/`\*\*", page, re.MULTILINE)
    assert {name for level in LAYERS for name in level if (PACKAGE / name).is_dir()} == {*order, "process"}
    place = {name: number for number, name in enumerate(order)}
    for path in MODULES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in _imports(path):
            other = name.split(".")[1] if name.startswith("diagchd_batch.") else ""
            if own in place and other in place:
                assert place[own] <= place[other], f"{path}: {own} imports {other}, which the page lists before it"


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts - {"__init__", "__main__"} <= set(LAYER_OF)


def _spelled_commands(path: Path) -> list[str]:
    """Return the texts of a module, without docstrings, that spell a command of this program."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    spelled = re.compile(rf"diagchd-batch ({'|'.join(sorted(COMMANDS))})\b")
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            found += [node.value] * bool(spelled.search(node.value))
    return found


@pytest.mark.parametrize("path", [path for path in MODULES if "diagchd-batch" in path.read_text(encoding="utf-8")])
def test_messages_build_commands_with_one_function(path: Path) -> None:
    assert _spelled_commands(path) == [], "use escaping.command_line, or write: the command `…`"


def test_files_stay_small() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]
    assert max(lengths) <= 600
    assert median(lengths) < 150


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["--version"], ["config", "schema"]])
def test_light_commands_load_neither_ray_nor_tensorflow(arguments: list[str]) -> None:
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


def test_a_job_is_submitted_without_the_libraries_of_its_evaluation() -> None:
    """They take a second to load. A client never needs them, and workers start before they are needed."""
    code = (
        "import sys\n"
        "import diagchd_batch.runs.submit\n"
        "late = {'scipy.stats', 'statsmodels', 'diagchd_batch.evaluation', 'diagchd_batch.report'}\n"
        "print(sorted(late & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_in_under_half_a_second() -> None:
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'diagchd_batch', '--help'], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    # This measures processor time, not wall time, because the machine may be busy with other work. Even so a busy
    # machine makes it longer, so several tries are allowed.
    seconds: list[float] = []
    while len(seconds) < 8 and min(seconds, default=1.0) >= 0.5:
        done = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    assert min(seconds) < 0.5, seconds
