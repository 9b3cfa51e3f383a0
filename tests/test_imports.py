"""Imports point down only, and heavy libraries are loaded where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "roomacoustic_sk"

FLOORS = {
    "__init__": 5,
    "__main__": 5,
    "cli": 5,
    "pretrained": 4,
    "persistence": 4,
    "encoder": 3,
    "features": 3,
    "heads": 3,
    "supervised": 3,
    "_targets": 2,
    "_training": 2,
    "_waveforms": 2,
    "datasets": 3,
    "displays": 2,
    "_shoebox": 2,
    "_segments": 1,
    "acoustics": 1,
    "losses": 1,
    "metrics": 1,
    "model_selection": 1,
    "networks": 1,
    "samplers": 1,
    "_decay": 0,
    "_fused": 0,
    "_lazy": -1,  # the cellar: even the checks know of it
    "_torch": -1,
    "_validation": 0,
}
"""Every module of the package; the modules of a subpackage live on one floor and may import each other."""

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES]


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
    names = [name.split(".") for name in imported_modules(ast.parse(path.read_text()))]
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
def test_heavy_libraries_are_imported_inside_the_functions_that_use_them(path):
    heavy = {"matplotlib", "pyroomacoustics", "soundfile", "pooch"}
    assert not heavy & set(imported_at_module_level(ast.parse(path.read_text())))


def reachable(name):
    """Return the files that a module needs, itself and what it imports in turn."""
    found, pending = set(), [name]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            paths = [path for path in FILES if floor_name(path) == name]
            pending += [other for path in paths for other in own_imports(path)]
    return [path for path in FILES if floor_name(path) in found]


@pytest.mark.parametrize("module", ["acoustics", "metrics", "_validation", "samplers", "_shoebox", "datasets"])
def test_numpy_modules_never_import_torch(module):
    for path in reachable(module):
        names = {name.partition(".")[0] for name in imported_modules(ast.parse(path.read_text()))}
        assert not names & {"torch", "skorch"}, path.name


@pytest.mark.parametrize("module", ["acoustics", "metrics"])
def test_numpy_modules_load_without_torch(module):
    # The package itself imports torch for its estimators, so a bare package stands in for its __init__.
    program = f"""
import sys, types
package = types.ModuleType({PACKAGE.name!r})
package.__path__ = [{str(PACKAGE)!r}]
sys.modules[package.__name__] = package
import {PACKAGE.name}.{module}
loaded = {{"torch", "skorch", "matplotlib", "pyroomacoustics", "soundfile"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_importing_the_package_loads_no_library_for_pictures_rooms_or_files():
    program = f"""
import sys, {PACKAGE.name}
loaded = {{"matplotlib", "pyroomacoustics", "soundfile", "pooch"}} & set(sys.modules)
assert not loaded, loaded
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
def test_the_search_for_imports_finds_them(source, expected):
    assert set(imported_at_module_level(ast.parse(source))) == expected
