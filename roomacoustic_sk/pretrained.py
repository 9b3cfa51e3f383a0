"""Estimators that come with the package: trained, calibrated, ready for recordings of any room."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from roomacoustic_sk._validation import check_choice, door
from roomacoustic_sk.persistence import load

if TYPE_CHECKING:
    from roomacoustic_sk.room_parameters import RoomParameterEstimator

__all__ = ["load_pretrained"]

SUFFIX = ".rsk"


def pretrained_names() -> list[str]:
    """Return the names that `load_pretrained` takes."""
    folder = files("roomacoustic_sk") / "weights"
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


@door
def load_pretrained(name: str = "default") -> RoomParameterEstimator:
    """Load an estimator that comes with the package; nothing is downloaded, and nothing in its file can execute.

    Parameters
    ----------
    name : str, default="default"
        Its name. The only one is "default": reverberation time (mean T30 of the 500 Hz and 1 kHz octaves, the target
        ``rt60_mid``) [s], clarity C50 and direct-to-reverberant ratio [dB] of speech at 16 kHz, see its model card in
        the documentation.

    Returns
    -------
    RoomParameterEstimator
        Fitted and calibrated.

    Raises
    ------
    ValueError
        If there is no estimator of that name.

    Examples
    --------
    >>> from roomacoustic_sk import load_pretrained
    >>> load_pretrained().target_names_[:3]
    ['rt60_mid', 'c50', 'drr']
    """
    check_choice(name, pretrained_names(), name="name")
    with as_file(files("roomacoustic_sk") / "weights" / f"{name}{SUFFIX}") as path:
        return load(path)
