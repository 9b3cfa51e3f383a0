"""Imports point down only, and heavy libraries are loaded where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "roomacoustic_sk"

FLOORS = {
    "__init__": 10,
    "__main__": 10,
    "cli": 9,
    "estimate": 8,
    "pretrained": 7,
    "persistence": 6,
    "encoder": 5,
    "heads": 5,
    "room_parameters": 5,
    "supervised": 5,
    "networks": 4,
    "_regression": 4,
    "_sources": 5,
    "losses": 4,
    "datasets": 4,
    "augmentation": 3,
    "intervals": 3,
    "features": 3,
    "displays": 3,
    "_shoebox": 3,
    "_torch": 3,
    "acoustics": 2,
    "samplers": 2,
    "metrics": 2,
    "model_selection": 2,
    "_base": 2,
    "_segmentation": 2,
    "_state": 1,
    "_recordings": 1,
    "_labels": 1,
    "_download": 1,
    "_ranges": 1,
    "_speech_activity": 1,
    "_parameters": 1,
    "_decay": 0,
    "_sound": 0,
    "_validation": 0,
}
"""Every module of the package; the modules of a subpackage live on one floor and may import each other."""

NO_TORCH = {name for name, floor in FLOORS.items() if floor <= 2} | {
    "datasets",
    "_shoebox",
    "augmentation",
    "intervals",
    "features",
    "displays",
}

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES]


@cache
def parsed(path):
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text())


def floor_name(path):
    """Return the module, or the subpackage, that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(tree):
    """Yield the full name of every module, or name of one, that a parsed file imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_at_module_level(tree):
    """Yield the top-level packages that are imported when the file is, also within conditions or classes."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        pending += ast.iter_child_nodes(node)


def own_imports(path):
    """Return the modules of this package that a file imports, by their names in the table."""
    names = [name.split(".") for name in imported_modules(parsed(path))]
    return {[*name, "__init__"][1] for name in names if name[0] == PACKAGE.name}


def test_every_module_has_a_floor():
    assert {floor_name(path) for path in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_down_only(path):
    here = floor_name(path)
    for imported in own_imports(path) - {here}:
        # `from roomacoustic_sk import ContrastiveRoomEncoder` names no module: it climbs to the top floor.
        floor = FLOORS.get(imported, FLOORS["__init__"])
        assert floor < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {imported} (floor {floor})"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_heavy_libraries_are_imported_only_inside_functions(path):
    heavy = {"matplotlib", "pyroomacoustics", "soundfile", "soxr", "pooch"}
    assert not heavy & set(imported_at_module_level(parsed(path)))


def test_modules_do_not_import_each_other_in_circles():
    modules = {f"{PACKAGE.name}.{name}": path for path, name in zip(FILES, NAMES, strict=True)}
    graph = {}
    for module, path in modules.items():
        imported = {f"{name}." for name in imported_modules(parsed(path))}
        graph[module] = {
            other for other in modules if other != module and any(name.startswith(f"{other}.") for name in imported)
        }
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("path", [path for path in FILES if floor_name(path) in NO_TORCH], ids=str)
def test_numpy_modules_do_not_import_torch(path):
    names = {name.partition(".")[0] for name in imported_modules(parsed(path))}
    assert not names & {"torch", "skorch"}
    assert "_torch" not in own_imports(path)


def uses(path, name):
    """Tell whether a file has a name of its own or of another module in its code."""
    nodes = list(ast.walk(parsed(path)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return name in names or name in {alias.name for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_datasets_makes_bunches_and_only_displays_draws(path):
    if floor_name(path) != "datasets":
        assert not uses(path, "Bunch")
    if floor_name(path) != "displays":
        names = {name.partition(".")[0] for name in imported_modules(parsed(path))}
        assert "matplotlib" not in names


HEAVY = ("torch", "skorch", "matplotlib", "pyroomacoustics", "soundfile", "soxr", "pooch")


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [
        ("from roomacoustic_sk.acoustics import clarity", (*HEAVY, "sklearn", "pandas")),
        pytest.param("from roomacoustic_sk import metrics", HEAVY, marks=pytest.mark.slow),
        pytest.param("from roomacoustic_sk.datasets import simulate_rooms", HEAVY, marks=pytest.mark.slow),
        pytest.param("from roomacoustic_sk.features import DecaySlopeFeatures", HEAVY, marks=pytest.mark.slow),
        ("import roomacoustic_sk", (*HEAVY, "sklearn", "pandas", "numpy")),
        pytest.param(  # torch's compiler takes 2 s to import
            "from roomacoustic_sk import load_pretrained; load_pretrained()",
            ("torch._dynamo", "matplotlib", "pyroomacoustics"),
        ),
        pytest.param("from roomacoustic_sk import ContrastiveRoomEncoder", HEAVY[2:], marks=pytest.mark.slow),
    ],
)
def test_imports_load_no_unneeded_libraries(line, unwanted):
    program = f"import sys; {line}; loaded = set({unwanted}) & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.slow
def test_public_names_are_loaded_lazily():
    program = """
import roomacoustic_sk, sys
assert "ContrastiveRoomEncoder" in dir(roomacoustic_sk) and "acoustics" in dir(roomacoustic_sk)
assert "torch" not in sys.modules
assert roomacoustic_sk.acoustics.clarity and "torch" not in sys.modules
assert roomacoustic_sk.RoomRegressor.__name__ == "RoomRegressor" and "torch" in sys.modules
try:
    roomacoustic_sk.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise SystemExit(1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_public_names_are_there():
    import roomacoustic_sk

    assert all(hasattr(roomacoustic_sk, name) for name in roomacoustic_sk.__all__)
    assert roomacoustic_sk.__version__


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn", {"torch"}),
        ("if True:\n    from torch import nn", {"torch"}),
        ("try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
        ("class A:\n    import torch", {"torch"}),
        ("def f():\n    import torch", set()),
    ],
)
def test_the_search_for_imports_finds_all_forms(source, expected):
    assert set(imported_at_module_level(ast.parse(source))) == expected
