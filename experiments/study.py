"""What a study is: a question, the keys of its results, how one is computed, what the report says of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.results import Key, Result

if TYPE_CHECKING:
    import numpy as np

    from experiments.data import Lab


@dataclass(frozen=True)
class Outcome:
    """What a study computed for a key."""

    result: dict[str, Any]  # goes into JSON
    training_seconds: float | None = None
    arrays: Mapping[str, np.ndarray] | None = None  # go into NPZ


class Study(ABC):
    """One question, answered by results of which each has a file.

    Its module imports neither torch nor any extra when it is imported, only when it runs.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    speech: ClassVar[str | None] = "given"  # real with --speech, synthetic without; or "synthetic"; None without speech
    explanation: ClassVar[str] = ""  # of settings whose names do not speak for themselves, shown with the help
    free: ClassVar[Mapping[str, Callable[[str], Any]]] = {"seed": int}  # settings that may be asked for beyond the grid

    @abstractmethod
    def keys(self) -> Sequence[Key]:
        """Return the grid of the study."""

    @abstractmethod
    def run(self, key: Any, lab: Lab, checkpoints: Path) -> Outcome:
        """Compute the result of a key; trainings keep their state in the folder `checkpoints`, so that they resume."""

    @abstractmethod
    def section(self, results: Sequence[Result]) -> str:
        """Return the study's section of docs/results.md; every number in it comes from the results."""
