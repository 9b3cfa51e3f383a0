"""Every public name is documented as numpydoc wants it, with an example."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.validate import validate

import roomacoustic_sk

MODULES = ["roomacoustic_sk"] + [
    f"roomacoustic_sk.{module.name}"
    for module in pkgutil.iter_modules(roomacoustic_sk.__path__)
    if not module.name.startswith("_")
]
ACCEPTED = {
    "GL01",  # the summary stands on the first line, as PEP 257 has it
    "ES01",  # not every function needs more than its summary
    "SA01",  # nor a See Also section
}


def public_names():
    """Yield the dotted names of the functions, classes and their methods that a user may call."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        exported = getattr(module, "__all__", ())
        for name in exported or [n for n in vars(module) if not n.startswith("_")]:
            thing = getattr(module, name)
            if not (inspect.isclass(thing) or inspect.isfunction(thing)) or name.endswith("Warning"):
                continue
            if name not in exported and not thing.__module__.startswith(module_name):  # imported from elsewhere
                continue
            yield f"{module_name}.{name}", set()
            for method, member in vars(thing).items() if inspect.isclass(thing) else ():
                if inspect.isfunction(member) and not method.startswith("_") and method != "forward":
                    yield f"{module_name}.{name}.{method}", {"EX01", "PR01", "RT01"}


@pytest.mark.parametrize(("name", "also_accepted"), [pytest.param(*case, id=case[0]) for case in public_names()])
def test_docstring_is_valid_numpydoc(name, also_accepted):
    errors = [(code, text) for code, text in validate(name)["errors"] if code not in ACCEPTED | also_accepted]
    assert not errors
