"""Room acoustic parameters of responses, against a loop over pyrato."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inputs import RATE, Size, decays

from roomacoustic_sk import acoustics

pyfar = pytest.importorskip("pyfar", reason="pyrato works on pyfar's signals")
pyrato = pytest.importorskip("pyrato", reason="pyrato is the reference implementation")

OURS = "roomacoustic_sk"


def by_pyrato(responses: np.ndarray, parameters: Callable[[Any], tuple[Any, ...]]) -> np.ndarray:
    """Return parameters of decay curves after Lundeby, one row a response."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its search for the noise floor does not always settle
        for response in responses:
            curve = pyrato.edc.energy_decay_curve_chu_lundeby(pyfar.Signal(response, RATE))
            curve = pyfar.TimeData(curve.time / curve.time[0, 0], curve.times)
            found.append([value.item() for value in parameters(curve)])
    return np.array(found)


def t30(curve: Any) -> tuple[Any, ...]:
    """Return the reverberation time."""
    return (pyrato.parameters.reverberation_time_linear_regression(curve, "T30"),)


def all_three(curve: Any) -> tuple[Any, ...]:
    """Return reverberation time, early decay time and clarity."""
    edt = pyrato.parameters.reverberation_time_linear_regression(curve, "EDT")
    return *t30(curve), edt, pyrato.parameters.clarity(curve, early_time_limit=50)


def check_agreement(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Check that T30 agrees within 0.1 %, EDT within 1 % and C50, whose limit falls between samples, within 0.2 dB."""
    np.testing.assert_allclose(ours[:, :1], theirs[:, :1], rtol=0.001)
    np.testing.assert_allclose(ours[:, 1:2], theirs[:, 1:2], rtol=0.01)
    np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], atol=0.2)


@pytest.fixture(scope="module")
def reverberation_time(size: Size) -> dict[str, Callable[[], Any]]:
    """Return ways to T30 alone."""
    responses = decays(size.responses)
    found = {
        OURS: lambda: acoustics.reverberation_time(responses, RATE),
        "pyrato": lambda: by_pyrato(responses, t30)[:, 0],
    }
    check_agreement(found[OURS]()[:, None], found["pyrato"]()[:, None])
    return found


@pytest.mark.parametrize("implementation", [OURS, "pyrato"])
def bench_reverberation_time(measure, reverberation_time, size, implementation):
    """Time T30 of responses of 1.5 s, noise treated after Lundeby."""
    measure(reverberation_time[implementation], group="reverberation time", count=size.responses, unit="response")


@pytest.fixture(scope="module")
def room_parameters(size: Size) -> dict[str, Callable[[], Any]]:
    """Return ways to T30, EDT and C50; ours computes six parameters."""
    responses = decays(size.responses)
    found = {
        OURS: lambda: acoustics.room_parameters(responses, RATE),
        "pyrato": lambda: by_pyrato(responses, all_three),
    }
    ours = found[OURS]()
    columns = [ours[name] for name in ("reverberation_time", "early_decay_time", "clarity")]
    check_agreement(np.stack(columns, axis=1), found["pyrato"]())
    return found


@pytest.mark.parametrize("implementation", [OURS, "pyrato"])
def bench_room_parameters(measure, room_parameters, size, implementation):
    """Time the parameters of responses of 1.5 s, noise treated after Lundeby."""
    measure(room_parameters[implementation], group="room parameters", count=size.responses, unit="response")
