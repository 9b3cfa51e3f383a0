"""Conditions under which the studies make responses and clips, and the networks that are named after them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from experiments.tables import CUT_ORDER, FLAT_ORDER


@dataclass(frozen=True)
class Conditions:
    """How the responses and clips of all parts are made."""

    order: int | None = None  # image sources cut at it, not converged
    level: bool = False  # clips keep their level
    flat: bool = False  # walls absorb the mean of their material's coefficients at all frequencies
    shared_speech: bool = False  # heads learn from a few segments, and are tested on other pairs of them
    travel_time: bool = False  # clips begin when the source emits, not when the direct sound arrives

    @property
    def cut(self) -> bool:
        """Whether responses are cut."""
        return self.order is not None

    @property
    def standardise(self) -> str:
        """The parameter of encoders and supervised estimators."""
        return "training_set" if self.level else "clip"


CONVERGED = Conditions()
CUT = Conditions(order=CUT_ORDER, level=True)
FLAT = replace(CUT, flat=True)
SHARED = replace(FLAT, shared_speech=True)
CONDITIONS = {
    "cut": CUT,
    "flat": FLAT,
    "shared": SHARED,
    "spread": replace(SHARED, order=FLAT_ORDER),
    "clip": replace(SHARED, level=False),
    "travel": replace(SHARED, travel_time=True),
} | dict.fromkeys(("long", "rooms", "most"), SHARED)  # only the training of their encoders differs


def architecture(network: str) -> str:
    """Return the network itself, without what it learns from: "paper" of "paper-varied"."""
    return network.partition("-")[0]


def conditions_name(network: str) -> str | None:
    """Return the name of the conditions that a network, or a baseline without one, is named after."""
    name = network.partition("-")[2]
    return name if name in CONDITIONS else None


def conditions_of(network: str) -> Conditions:
    """Return the conditions that a network, or a baseline without one, is named after."""
    name = conditions_name(network)
    return CONDITIONS[name] if name else CONVERGED


def baselines(network: str) -> tuple[str, str]:
    """Return the networks under which the baselines of a network stand: trained by supervision, and without one.

    Supervised networks do not depend on what encoders learn from, only on the conditions.
    """
    suffix = next((f"-{name}" for name, same in CONDITIONS.items() if same == conditions_of(network)), "")
    return architecture(network) + suffix, f"no{suffix}"
