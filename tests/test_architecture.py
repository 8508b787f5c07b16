"""The layout of the package, read from its imports: floors, sizes of folders, what exports what."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "eds_xr"

#: From the ground up. A file may import what stands on its own floor or below it.
FLOORS = (
    {
        "schema",
        "arguments",
        "axes",
        "chunks",
        "workers",
        "cluster",
        "atomic_write",
        "places",
        "provenance",
        "progress",
        "csv_text",
    },
    {"xray"},
    {"readers"},
    {"store", "samples"},
    {"image"},
    {"factorisation", "segmentation", "spectra", "composition"},
    {"report"},
    {"analysis"},
    {"app"},
    {"accessor", "cli"},
    {""},  # the package itself: what a user imports
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
#: The stages of the analysis. They meet in checked arrays and never import one another.
STAGES = {"factorisation", "segmentation", "spectra", "composition"}
#: Folders that are attributes of `eds_xr`: they alone export what stands in their files.
EXPORTING = {
    "composition.k_factors", "readers", "samples", "segmentation.classify",
    "segmentation.features", "segmentation.graph_cut", "segmentation.labelling", "store",
}  # fmt: skip
DRAWERS = {"_parts", "parts", "utils", "util", "helpers", "common", "misc", "core", "lib"}
MOST_FILES = 12
MOST_LINES = 400
HEAVY = {
    "matplotlib", "sklearn", "skimage", "numba", "h5py", "rsciio", "xraydb", "maxflow",
    "dask", "distributed", "panel", "bokeh", "dask_ml", "typer", "rich",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FOLDERS = sorted({path.parent for path in FILES.values()})


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "eds_xr"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            if node.module and node.module.split(".")[0] == "eds_xr":
                names = {f"{node.module}.{a.name}" for a in node.names}
                known = {n for n in names if n.removeprefix("eds_xr.") in FILES}
                found |= known or {node.module}
    return {name.removeprefix("eds_xr").lstrip(".") for name in found}


GRAPH = {name: imports(path) - {name} for name, path in FILES.items()}


def room(name: str) -> str:
    return name.split(".")[0]


def test_imports__are_found() -> None:
    assert "schema" in GRAPH["spectra.sums"]
    assert "factorisation.solver.poisson" in GRAPH["factorisation.solver.descent"]  # late imports


@pytest.mark.parametrize("name", FILES)
def test_every_file__has_a_floor(name: str) -> None:
    assert room(name) in FLOOR, f"{name} stands on no floor"


@pytest.mark.parametrize("name", FILES)
def test_imports__never_run_up(name: str) -> None:
    above = {used for used in GRAPH[name] if FLOOR[room(used)] > FLOOR[room(name)]}
    assert not above, f"{name} imports {sorted(above)}, which stand above it"


@pytest.mark.parametrize("name", FILES)
def test_stages__meet_in_arrays_only(name: str) -> None:
    if room(name) in STAGES:
        others = {used for used in GRAPH[name] if room(used) in STAGES - {room(name)}}
        assert not others, f"{name} imports {sorted(others)}, of another stage"


def test_imports__have_no_cycle() -> None:
    left = {name: set(used) & set(FILES) for name, used in GRAPH.items()}
    while free := [name for name, used in left.items() if not used]:
        for name in free:
            del left[name]
        for used in left.values():
            used.difference_update(free)
    assert not left, f"a cycle among {sorted(left)}"


#: What users, or the entry points of pyproject.toml, name.
ENTRANCES = ("", "cli", "accessor", "store.xarray_engine")


@pytest.mark.parametrize("name", [n for n in FILES if n not in ENTRANCES])
def test_every_file__is_used(name: str) -> None:
    folder = FILES[name].name == "__init__.py"
    assert folder or any(name in used for used in GRAPH.values()) or room(name) == "readers"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_folders__fit_in_the_head(folder: Path) -> None:
    files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES, f"{len(files)} files; which of them belong in a room inside?"
    assert folder.name.strip("_") not in DRAWERS, "a drawer: which stage do these files serve?"


@pytest.mark.parametrize("name", FILES)
def test_files__fit_in_the_head(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda path: path.name)
def test_folders__export_nothing_but_public_attributes(folder: Path) -> None:
    name = module_name(folder / "__init__.py")
    body = ast.parse((folder / "__init__.py").read_text()).body
    exported = {a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names}
    if name in EXPORTING:
        modules = {path.stem for path in folder.glob("*.py")}
        assert not modules & exported, "a module bears the name of what its folder exports"
    else:
        assert len(body) == 1, f"{name} does more than say what it holds"


def test_minerals__only_the_study_and_samples_know_them() -> None:
    """Their names stand in no code elsewhere (docstrings may use them as examples)."""
    known = re.compile(
        r"\b(Brg|Fp|Ca-Pv)\b|bridgmanite|periclase|perovskite|pyrolite", re.IGNORECASE
    )
    for name, path in FILES.items():
        if name.startswith(("analysis.deep_mantle", "samples")):
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        said = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            text = node.value if isinstance(node, ast.Constant) and id(node) not in said else None
            assert not known.search(str(text)), f"{name} knows of {text!r}"


def test_accessor__only_the_package_imports_it() -> None:
    assert [n for n, used in GRAPH.items() if "accessor" in used] == [""]


def test_accessor__binds_and_does_not_work() -> None:
    """Its classes hold nothing but names bound to functions; no branch and no loop anywhere."""
    tree = ast.parse(FILES["accessor"].read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            assert [m.name for m in methods] == ["__init__"]
    loops = (ast.For, ast.While, ast.Try, ast.With, ast.ListComp, ast.DictComp, ast.BinOp)
    assert not [n for n in ast.walk(tree) if isinstance(n, loops)]


def test_import__is_light() -> None:
    code = (
        "import sys, time, xarray; start = time.perf_counter(); import eds_xr; "
        "print(time.perf_counter() - start); print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    seconds, loaded = done.stdout.splitlines()
    print(f"import eds_xr: {float(seconds):.2f} s beyond xarray's own")
    heavy = HEAVY & set(loaded.split())
    assert not heavy, f"import eds_xr loads {sorted(heavy)}; import them late"
