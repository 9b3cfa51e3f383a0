"""Files and functions stay short, signatures small, and errors and warnings have one shape."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "roomacoustic_sk"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in FILES]

LINES_OF_A_FILE = 500  # without docstrings
LINES_OF_A_BODY = 60  # without the docstring
PARAMETERS = 10  # without self
PARAMETERS_OF_A_LOADER = 26  # of a public function of datasets, whose options are all named

MANY_PARAMETERS = {"__init__", "fit", "partial_fit"}
"""An estimator lists its parameters in `__init__`; parameters of `fit` belong to the data."""

MAY_TAKE_ANY_KEYWORDS = {
    "_validation.py:door.<locals>.opened": "passes on whatever the wrapped function takes",
    "_torch/training.py:RoomNet.__init__": "hands skorch's own parameters to skorch.NeuralNet",
    "_torch/training.py:RoomNet.get_split_datasets": "skorch passes fit parameters on",
    "_torch/training.py:RoomNet.fit_loop": "as above",
    "_torch/training.py:RoomNet.infer": "as above",
    "_torch/training.py:RoomNet.notify": "skorch passes on what belongs to an event",
}
"""Functions with **kwargs, beside skorch's callbacks (`on_...`), and why."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def docstring_lines(node):
    """Return how many lines the docstring of a module, class or function takes."""
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


def code_lines(source):
    """Return the lines of a file that belong to no docstring."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Module, *DEFINITIONS))]
    return len(source.splitlines()) - sum(map(docstring_lines, nodes))


def body_lines(function):
    """Return the lines of a function's body, without its docstring."""
    first = function.body[0].lineno
    return function.body[-1].end_lineno - first + 1 - docstring_lines(function)


def functions(tree, prefix=""):
    """Yield every function of a parsed file with its qualified name."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, DEFINITIONS):
            yield from functions(node, prefix)
            continue
        name = prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{name}.")
        else:
            yield name, node
            yield from functions(node, f"{name}.<locals>.")


def parameters(function):
    """Return the positional and the keyword-only parameters of a function, without self and cls."""
    positional = [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]
    if positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    return positional, [argument.arg for argument in function.args.kwonlyargs]


def is_public_in_datasets(path, name):
    return path.parent.name == "datasets" and not name.startswith("_") and "." not in name


def calls(tree, *names):
    """Yield the calls of functions, or methods, of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                yield node


def every_function():
    """Yield all functions of the package: file, name of the file, qualified name, parsed function."""
    for path, file in zip(FILES, NAMES, strict=True):
        for name, function in functions(ast.parse(path.read_text())):
            yield path, file, name, function


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_longer_than_500_lines_without_docstrings(path):
    assert code_lines(path.read_text()) <= LINES_OF_A_FILE


def test_no_function_body_is_longer_than_60_lines():
    long = {f"{file}:{name}": body_lines(function) for _, file, name, function in every_function()}
    assert {name: lines for name, lines in long.items() if lines > LINES_OF_A_BODY} == {}


def test_no_function_takes_more_than_10_parameters():
    many = {}
    for path, file, name, function in every_function():
        n_parameters = sum(map(len, parameters(function)))
        if function.name in MANY_PARAMETERS or is_public_in_datasets(path, name):
            continue
        if n_parameters > PARAMETERS:
            many[f"{file}:{name}"] = n_parameters
    assert many == {}


def test_loaders_and_makers_take_their_options_by_keyword():
    wrong = {}
    for path, file, name, function in every_function():
        positional, keywords = parameters(function)
        n_parameters = len(positional) + len(keywords)
        if is_public_in_datasets(path, name) and (
            n_parameters > PARAMETERS_OF_A_LOADER or (n_parameters > PARAMETERS and len(positional) > 2)
        ):
            wrong[f"{file}:{name}"] = f"{len(positional)} positional, {n_parameters} in all"
    assert wrong == {}


def test_signatures_name_their_keywords():
    found = {f"{file}:{name}" for _, file, name, function in every_function() if function.args.kwarg is not None}
    callbacks = {name for name in found if name.rpartition(".")[2].startswith("on_")}
    assert found - callbacks == set(MAY_TAKE_ANY_KEYWORDS)


def test_no_function_takes_the_name_of_its_caller():
    told = []
    for _, file, name, function in every_function():
        positional, keywords = parameters(function)
        if "caller" in [*positional, *keywords] and f"{file}:{name}" != "samplers.py:labels_to_hold_out":  # once public
            told.append(f"{file}:{name}")
    assert told == []


def test_only_warn_sets_the_stack_level():
    telling = []
    for path, file in zip(FILES, NAMES, strict=True):
        tree = ast.parse(path.read_text())
        levels = [call for call in ast.walk(tree) if isinstance(call, ast.Call) and says_level(call)]
        owners = [name for name, function in functions(tree) if any(call in ast.walk(function) for call in levels)]
        telling += [f"{file}:{name}" for name in owners or ["<module>"] * bool(levels)]
    assert telling == ["_validation.py:warn"]


def says_level(call):
    return any(keyword.arg == "stacklevel" for keyword in call.keywords)


MAY_IMPORT_WARNINGS = {
    "_validation.py": "gives them",
    "cli/_messages.py": "shows them as lines",
}


@pytest.mark.parametrize("path", [PACKAGE / name for name in NAMES if name not in MAY_IMPORT_WARNINGS], ids=str)
def test_only_warn_gives_warnings(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "warnings" not in {alias.name for alias in node.names}, node.lineno
        if isinstance(node, ast.ImportFrom):
            assert node.module != "warnings", node.lineno


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_warning_is_swallowed(path):
    assert not any(calls(ast.parse(path.read_text()), "catch_warnings", "simplefilter", "filterwarnings"))


SAMPLE = '''"""Of a module,

of three lines."""

class A:
    """Of a class."""

    def f(self, x, /, y, *, caller="", **kwargs):
        """Of a function."""
        def g():
            return 1

        return g
'''


def test_lines_and_parameters_are_counted_by_the_rules():
    found = dict(functions(ast.parse(SAMPLE)))
    assert list(found) == ["A.f", "A.f.<locals>.g"]
    assert code_lines(SAMPLE) == 13 - 3 - 1 - 1
    assert body_lines(found["A.f"]) == 4
    assert parameters(found["A.f"]) == (["x", "y"], ["caller"])
    assert found["A.f"].args.kwarg.arg == "kwargs"


# --- The tests themselves -------------------------------------------------------------------------------------------

TESTS = sorted(Path(__file__).parent.glob("*.py"))
LINES_OF_A_TEST_FILE = 600
CHARACTERS_OF_A_TEST_NAME = 69

TESTS_OF_MORE_THAN_A_MODULE = {
    "artefacts": "all modules, on data that are no sound",
    "acoustics_oracles": "acoustics, against other libraries and measured rooms",
    "distributed": "simulate_rooms and GridSearchCV on machines of dask",
    "docstrings": "all public names",
    "ensembles": "RoomRegressorEnsemble of heads",
    "file_identity": "readers of datasets: speakers, rooms and columns",
    "fuzzed_files": "readers of datasets, on mutated files",
    "global_state": "all estimators, in a process that other libraries have changed",
    "grid_search": "examples/grid_search.py",
    "hostile_values": "values that other libraries take without a word, wherever they are passed",
    "imports": "all modules",
    "interrupted_downloads": "_download and datasets/_librispeech",
    "levels": "`standardise`, in spectrograms, networks and estimators",
    "odd_files": "datasets/_audio and the readers of streams",
    "parameter_sweep": "all public functions and estimators",
    "quickstart": "examples/quickstart.py",
    "saved_files": "persistence, on mutated and hostile files",
    "sklearn": "all estimators, with the tools of scikit-learn",
    "speed_page": "docs/speed.md",
    "stores": "all estimators, on Zarr and HDF5",
    "structure": "all modules, and the tests",
    "treatments": "acoustics, on the edited responses of experiments/treatments.py",
    "units": "all modules, on values in another unit and absurd sizes",
}
"""Test files that belong to no single module, and their subjects."""


def subjects_of_tests():
    """Return the names that a test file may have: modules, packages, and public functions of datasets."""
    from roomacoustic_sk import datasets

    modules = {part.lstrip("_") for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    return modules | set(datasets.__all__)


def is_fixture(node):
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def top_level(path):
    """Yield the functions and classes that a test file defines."""
    yield from (node for node in ast.parse(path.read_text()).body if isinstance(node, DEFINITIONS))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_test_files_and_names_of_tests_are_short(path):
    assert len(path.read_text().splitlines()) <= LINES_OF_A_TEST_FILE
    names = [node.name for node in top_level(path)]
    assert [name for name in names if name.startswith("test_") and len(name) > CHARACTERS_OF_A_TEST_NAME] == []


def test_every_test_file_belongs_to_a_module():
    subjects = {path.stem.removeprefix("test_") for path in TESTS if path.stem.startswith("test_")}
    experiments = {subject for subject in subjects if subject.startswith("experiments")}
    assert subjects - experiments - subjects_of_tests() - set(TESTS_OF_MORE_THAN_A_MODULE) == set()


def test_no_helper_is_defined_in_two_test_files():
    helpers, fixtures = {}, {}
    for path in TESTS:
        for node in top_level(path):
            if node.name.startswith("test_"):
                continue
            if is_fixture(node):  # the same name may stand for other data, the same code may not
                fixtures.setdefault("\n".join(map(ast.unparse, node.body)), []).append(f"{path.name}:{node.name}")
            else:
                helpers.setdefault(node.name, []).append(path.name)
    assert {name: files for name, files in helpers.items() if len(files) > 1} == {}
    assert [places for places in fixtures.values() if len(places) > 1] == []
