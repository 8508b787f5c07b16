"""What the design page says of the package's rooms, read from the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "eds_xr"

#: From the bottom up; a module may import those of layers below its own, and its own helpers.
LAYERS = (
    {"schema"},
    {"chunks", "xray_lines", "provenance", "progress"},
    {
        "nmf", "unmix", "rank", "mixing", "maps", "features", "classify", "graph_cut", "scribbles",
        "masks", "spectra", "identify", "line_fit", "line_errors", "k_factors", "quantify",
        "minerals", "traces", "partition", "tables", "simulate", "store", "samples", "readers",
    },
    {"segment"},
    {"study"},
    {"figures"},
    {"report"},
    {"cli", "label_app"},
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
#: The reading stage: store takes its recordings from readers.
ALLOWED = {("store", "readers")}
HEAVY = {
    "matplotlib", "sklearn", "skimage", "numba", "h5py", "rsciio", "xraydb", "maxflow",
    "distributed", "panel", "bokeh", "dask_ml",
}  # fmt: skip


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path):
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


def room(name):
    return name.split(".")[0]


def is_private(name):
    return room(name).startswith("_")


def users(name):
    """Return the public rooms that reach a private module, directly or through private ones."""
    found, ahead = set(), [name]
    seen = set()
    while ahead:
        current = ahead.pop()
        seen.add(current)
        for user, used in GRAPH.items():
            if current in used and user not in seen:
                if is_private(user):
                    ahead.append(user)
                else:
                    found.add(room(user))
    return found


def public_dependencies(name):
    """Return the public rooms that a module imports, directly or through private modules."""
    found, ahead, seen = set(), [name], set()
    while ahead:
        current = ahead.pop()
        seen.add(current)
        for used in GRAPH[current]:
            if is_private(used):
                if used not in seen:
                    ahead.append(used)
            elif used:
                found.add(room(used))
    return found - {room(name)}


PUBLIC = [n for n in FILES if n and not is_private(n) and n != "accessor"]


def test_imports__are_found():
    assert "schema" in GRAPH["spectra"]
    assert "_parts.poisson" in GRAPH["nmf"] | GRAPH["maps"]  # late imports count, too


@pytest.mark.parametrize("name", PUBLIC)
def test_every_module__has_a_layer(name):
    assert room(name) in LEVEL, f"{name} is in no layer of the design"


@pytest.mark.parametrize("name", PUBLIC)
def test_dependencies__run_one_way(name):
    above = {
        used
        for used in public_dependencies(name)
        if LEVEL[used] >= LEVEL[room(name)] and (room(name), used) not in ALLOWED
    }
    assert not above, f"{name} imports {above}, which is not below it; stages meet through arrays"


@pytest.mark.parametrize("name", [n for n in FILES if is_private(n) and n != "_parts"])
def test_private_modules__have_users_and_never_reach_up(name):
    assert users(name), f"nothing imports {name}"
    above = public_dependencies(name) & (set(LEVEL) - LAYERS[0] - LAYERS[1])
    assert not above, f"{name} imports {above}; a private module stands below its users"


def test_accessor__only_the_package_imports_it():
    assert [n for n, used in GRAPH.items() if "accessor" in used] in ([""], [])


def test_accessor__is_thin():
    if "accessor" in FILES:
        assert len(FILES["accessor"].read_text().splitlines()) < 120
        tree = ast.parse(FILES["accessor"].read_text())
        bodies = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        assert max(n.end_lineno - n.lineno for n in bodies) < 30  # it binds, it does not work


def test_imports__have_no_cycle():
    left = {name: set(used) & set(FILES) for name, used in GRAPH.items()}
    while free := [name for name, used in left.items() if not used]:
        for name in free:
            del left[name]
        for used in left.values():
            used.difference_update(free)
    assert not left, f"a cycle among {sorted(left)}"


@pytest.mark.parametrize("name", FILES)
def test_files__fit_in_the_head(name):
    assert len(FILES[name].read_text().splitlines()) <= 400


def test_import__is_light():
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
    assert not heavy, f"import eds_xr loads {sorted(heavy)}; import them, or dask.array, late"
