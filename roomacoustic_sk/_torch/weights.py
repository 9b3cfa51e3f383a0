"""The weights of a module as arrays, and a module that is given them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roomacoustic_sk._state import State
from roomacoustic_sk._torch.runtime import isolated
from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, restated


def weights_of(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the weights and averages of a module by name."""
    weights = {}
    with restated("network must have weights that NumPy can hold, such as float32"):
        for name, weight in module.state_dict().items():
            weights[name] = weight.detach().cpu().contiguous().numpy()
    return weights


def with_weights(build: Callable[[], nn.Module], weights: State) -> nn.Module:
    """Return the module that `build` returns, with these weights.

    The shapes are compared before memory is taken: the module is first built on torch's meta device, where a layer of
    any size takes none. A network of the user's that cannot be built there is compared once it is built.

    Raises
    ------
    ValueError
        If the weights have other names, shapes or types than those of the module, or are not finite.
    """
    with isolated(), restated("weights must be those of the network that the parameters describe"):
        try:
            with torch.device("meta"):
                declared: nn.Module | None = build()
        except (ArgumentValueError, ArgumentTypeError, RuntimeError):
            declared = None
        if declared is not None:
            _check_shapes(declared, weights)
        with torch.random.fork_rng(devices=[]):  # the initial weights, which are replaced, are drawn from a copy
            module = build()
        _check_shapes(module, weights)
        module.load_state_dict({name: torch.from_numpy(weights.value(name)) for name in weights.names()})
    return module.eval()


def _check_shapes(module: nn.Module, weights: State) -> None:
    """Refuse weights with other names, shapes or types than a module has."""
    expected = module.state_dict()
    missing, unknown = expected.keys() - set(weights.names()), set(weights.names()) - expected.keys()
    if missing or unknown:
        name = min(missing or unknown)
        raise ArgumentValueError(f"weights must be those of the network, got {'no' if missing else 'also'} {name!r}.")
    for name, weight in expected.items():
        kind = np.dtype(str(weight.dtype).removeprefix("torch."))
        found = weights.array(name, shape=tuple(weight.shape), kinds=kind.kind)
        if found.dtype != kind:
            raise ArgumentValueError(f"weights {name!r} must be {kind}, got {found.dtype}.")
