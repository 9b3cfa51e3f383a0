"""Rows of waveforms that are computed when they are asked for: data larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 22
"""Samples computed at once where rows are taken one after another: 16 MB."""


class LazyRows(ABC):
    """Waveforms of one length that look like a 2-D float32 array and exist a few at a time.

    An integer gives the row as an array; a slice, a mask or an array of integers gives fewer rows of the same kind,
    which still are not computed. `numpy.asarray` computes them all.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of rows, samples in a row."""

    @abstractmethod
    def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return these rows as an array of shape (n_rows, n_times)."""

    @abstractmethod
    def _take(self, rows: NDArray[np.intp]) -> Self:
        """Return these rows, not computed."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:  # what scikit-learn's splits ask for
            key = key[0]
        try:
            rows = np.arange(len(self))[key]
        except (IndexError, TypeError) as error:
            mend = ". Take columns of numpy.asarray(...)." if isinstance(key, tuple) else "."
            raise IndexError(
                f"{type(self).__name__}: rows must be asked for by number, slice or mask, within the {len(self)} that "
                f"there are: {error}{mend}"
            ) from error
        if np.ndim(rows) > 1:
            raise IndexError(f"{type(self).__name__}: rows must be asked for in one dimension, got {np.ndim(rows)}.")
        return self.gather(np.array([rows]))[0] if np.ndim(rows) == 0 else self._take(rows)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for rows in self._blocks():
            yield from self.gather(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{type(self).__name__}: an array of these rows must be computed, got copy=False.")
        result = np.empty(self.shape, dtype=self.dtype if dtype is None else dtype)
        for rows in self._blocks():
            result[rows] = self.gather(rows)
        return result

    def _blocks(self) -> list[NDArray[np.intp]]:
        n_rows = max(BLOCK_SAMPLES // max(self.shape[1], 1), 1)
        return [np.arange(first, min(first + n_rows, len(self))) for first in range(0, len(self), n_rows)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape}, computed when asked for>"
