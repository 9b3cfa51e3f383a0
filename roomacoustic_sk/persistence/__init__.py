"""Save fitted estimators to a file in which nothing can execute, and load them again, equal to the last bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, describe, door
from roomacoustic_sk.networks import check_network
from roomacoustic_sk.persistence._estimators import Reader, Writer, WrongNetworkError
from roomacoustic_sk.persistence._file import UnreadableError, from_bytes, read, to_bytes, write

__all__ = ["load", "save"]


@door
def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Save an estimator to a file.

    The file holds parameters, weights and fitted attributes as JSON and arrays, in the safetensors format, with a
    checksum. It holds no code and no training data, and is as large as the weights.

    Parameters
    ----------
    estimator : estimator of roomacoustic_sk or scikit-learn
        A fitted estimator of this package, or a `Pipeline`, `TransformedTargetRegressor` (with functions such as
        `numpy.log` and `numpy.exp`), `BaggingRegressor`, `FrozenEstimator` or `StandardScaler`. Within these, other
        estimators of scikit-learn may stand, if skops is installed and trusts them by default: linear models, but no
        trees.
    path : str or path-like
        The file, usually with the ending .rsk. An existing one is replaced once the new one is complete.

    Raises
    ------
    TypeError
        If `estimator` is no estimator, or `path` no path.
    ValueError
        If a part of the estimator cannot be saved, with its name: callbacks, a cache, a class of your own, a parameter
        that is code.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Load an estimator from a file.

    Notes
    -----
    The optimiser is not saved: training that is resumed after `load`, by `partial_fit` or with ``warm_start=True``,
    begins with a new one and warns of that. `checkpoint_dir` is not saved either. A `network` of your own is saved
    by name, and must be passed to `load`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from roomacoustic_sk import RoomRegressor, load, save
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> head = RoomRegressor(max_epochs=1, random_state=0).fit(X, X[:, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(head, Path(folder) / "head.rsk")
    ...     again = load(Path(folder) / "head.rsk")
    >>> np.array_equal(again.predict(X), head.predict(X))
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise ArgumentTypeError(f"estimator must be an estimator, got {describe(estimator)}.")
    file = _checked_path(path)
    writer = Writer()
    writer.add_estimator(estimator, "")
    data = to_bytes(writer.content())
    network = next(iter(writer.networks.values()), None)
    try:
        Reader(from_bytes(data), network).read()
    except (UnreadableError, WrongNetworkError) as error:  # found now, rather than when the estimator is gone
        raise ArgumentValueError(
            f"estimator must be as its fit left it to be saved; the file could not be loaded: {error}."
        ) from error
    write(file, data)


@door
def load(path: str | os.PathLike[str], *, network: Any = None) -> Any:
    """Load an estimator that `save` wrote.

    Nothing in the file can execute. Sizes, checksum, types, shapes and finite values are checked before anything is
    built, and a file with a changed byte is refused.

    Parameters
    ----------
    path : str or path-like
        The file.
    network : callable, optional
        The class of the network, if the estimator's parameter `network` was a class of your own.

    Returns
    -------
    estimator
        The estimator. It estimates what the saved one did, on the same machine to the last bit. Its module is on the
        device of its parameter `device`, or on the CPU if that is not available here.

    Raises
    ------
    TypeError
        If `path` is no path, or `network` no class.
    ValueError
        If the file is damaged, was written by a newer version, or is not one of `save`; if it needs `network`.
    OSError
        If the file cannot be read.

    See Also
    --------
    save : Save an estimator to a file.

    Notes
    -----
    A file loads in this version of roomacoustic_sk and in all later ones. Estimators that skops saved also depend on
    the version of scikit-learn, which warns if it differs.

    A checksum shows damage, not who wrote a file: of a file from a stranger, the estimates are whatever its weights
    make them. Load it in a process that may fail if it holds estimators that skops saved; some of scikit-learn's, such
    as support vector machines, trust their own arrays.

    Examples
    --------
    >>> from roomacoustic_sk import load
    >>> load("missing.rsk")
    Traceback (most recent call last):
        ...
    roomacoustic_sk._validation.MissingFileError: load: path must be an existing file, got 'missing.rsk'.
    """
    file = _checked_path(path)
    if isinstance(network, str):
        raise ArgumentTypeError(f"network must be the class itself, got its name, {network!r}.")
    if network is not None:
        check_network(network)
    try:
        return Reader(from_bytes(read(file)), network).read()
    except UnreadableError as error:
        raise ArgumentValueError(
            f"path must be a file that save wrote, got {str(file)!r}, which cannot be loaded: {error}."
        ) from error


def _checked_path(path: Any) -> Path:
    """Return the path of a file, or raise."""
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ArgumentTypeError(f"path must be the path of a file, got {describe(path)}.")
    return Path(path).expanduser()
