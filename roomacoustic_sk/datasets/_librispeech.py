"""Download of the LibriSpeech corpus from OpenSLR."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, cast

from tqdm.auto import tqdm

from roomacoustic_sk._download import check_checksum, fetch, has_checksum, locked
from roomacoustic_sk._validation import ArgumentValueError, as_path, check_choice, check_number, door, restated, warn

OPENSLR = "https://www.openslr.org/resources/12"
CHECKSUMS = {  # OpenSLR's own list, https://www.openslr.org/resources/12/md5sum.txt
    "dev-clean": "md5:42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "md5:c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "md5:32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "md5:fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "md5:2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "md5:c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "md5:d1a0fd59409feb2c614ce4d30c387708",
}
N_UTTERANCES = {
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
    "train-clean-100": 28539,
    "train-clean-360": 104014,
    "train-other-500": 148688,
}
COMPLETE = ".complete"  # marks a folder that was unpacked as a whole
CORPUS = "LibriSpeech"  # the top-level folder of every archive


@door
def fetch_librispeech(
    subset: str = "dev-clean",
    *,
    data_home: str | Path | None = None,
    base_url: str = OPENSLR,
    checksum: str | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
    verbose: int = 1,
) -> Path:
    """Download a subset of LibriSpeech once, and return its folder, which `load_speech` reads.

    An interrupted download resumes where it stopped, in this call or in the next one. The archive is unpacked only if
    its checksum is correct. The folder appears only once it is complete; the archive is then deleted. An archive
    ``<data_home>/<subset>.tar.gz`` that you put there is unpacked instead of a download, and stays. Processes that
    fetch the same subset wait for each other.

    Parameters
    ----------
    subset : {"dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100", "train-clean-360", \
"train-other-500"}, default="dev-clean"
        0.3 GB for each of the dev and test sets; 6, 23 and 30 GB for the training sets. Unpacking needs as much again.
    data_home : str or Path, default=None
        Folder in which to keep the corpus. None uses ``roomacoustic_sk`` in the user's cache folder.
    base_url : str, default="https://www.openslr.org/resources/12"
        URL of the folder with the archives, for mirrors such as ``https://us.openslr.org/resources/12``.
    checksum : str, default=None
        Checksum of the archive, "md5:..." or "sha256:...". None uses OpenSLR's.
    attempts : int, default=5
        Number of consecutive attempts without progress before giving up.
    timeout : float, default=30.0
        Seconds to wait for the server to respond, and within which at least 16 kB must arrive.
    verbose : int, default=1
        Whether to show progress bars.

    Returns
    -------
    Path
        The folder ``<data_home>/LibriSpeech/<subset>``.

    Raises
    ------
    ConnectionError
        If the server cannot be reached, does not have the archive, or fails `attempts` times in a row without progress.
    ValueError
        If the subset or the kind of checksum is unknown, the archive's checksum is wrong, or the archive is damaged or
        contains anything but regular files and folders below ``LibriSpeech``; a downloaded archive and unpacked files
        are then deleted. If the folder is there, but holds only a part of the subset.
    OSError
        If the disk is full. What has been downloaded stays, and the next call resumes.

    Warns
    -----
    UserWarning
        If an archive that you put there does not have the checksum; it is left alone, and another one downloaded.

    Notes
    -----
    LibriSpeech is by Panayotov, Chen, Povey and Khudanpur, "Librispeech: an ASR corpus based on public domain audio
    books", ICASSP 2015, licence CC BY 4.0, https://www.openslr.org/12.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import fetch_librispeech, load_speech
    >>> speech = load_speech(fetch_librispeech("dev-clean"), n_segments=128)  # doctest: +SKIP
    """
    import pooch

    check_choice(subset, tuple(CHECKSUMS), name="subset")
    check_number(attempts, name="attempts", low=1, integer=True)
    check_number(timeout, name="timeout (in s)", low=0, low_open=True)
    checksum = CHECKSUMS[subset] if checksum is None else check_checksum(checksum)
    home = as_path(pooch.os_cache("roomacoustic_sk") if data_home is None else data_home, name="data_home")
    with restated("data_home must be a folder that can be written"):
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(error.strerror) from error
    folder = home / CORPUS / subset
    if _is_complete(folder):
        return folder
    with locked(home / f".{subset}.lock"):
        if _is_complete(folder):  # by the process that held the lock
            return folder
        own = home / f"{subset}.tar.gz"
        if own.is_file() and has_checksum(own, checksum):
            _unpack(own, folder, verbose)
            return folder
        # A download that could not be unpacked, for lack of space or interrupted, keeps a name that tells it is ours.
        archive = home / f"{subset}.tar.gz.downloaded"
        if own.exists() and not archive.exists():
            warn(f"{own} does not have the checksum {checksum} and is left alone; the archive is downloaded.")
        fetch(
            f"{base_url.rstrip('/')}/{subset}.tar.gz",
            home,
            archive.name,
            checksum,
            attempts=attempts,
            timeout=timeout,
            verbose=verbose,
            part=f"{own.name}.part",
        )
        try:
            _unpack(archive, folder, verbose)
        except ArgumentValueError:
            archive.unlink(missing_ok=True)
            raise
        archive.unlink(missing_ok=True)
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether a folder holds the whole subset: unpacked by us, or with as many files as it has.

    Raises
    ------
    ArgumentValueError
        If it holds something else than the whole.
    """
    if not folder.is_dir():
        return False
    if (folder / COMPLETE).exists():
        return True
    n_files = sum(name.endswith(".flac") for _, _, names in os.walk(folder) for name in names)
    if n_files == 0 and not any(folder.rglob("*.*")):
        return False
    if n_files < N_UTTERANCES[folder.name]:
        raise ArgumentValueError(
            f"data_home must hold all of {folder.name} or nothing of it, got {n_files} of its "
            f"{N_UTTERANCES[folder.name]} utterances in {folder}. Move that folder elsewhere and call again, "
            "or pass it to load_speech to use it as it is."
        )
    return True


def _unpack(archive: Path, folder: Path, verbose: int) -> None:
    """Unpack an archive into a temporary folder, and move the subset to `folder` in one step once it is complete."""
    home, name = folder.parent.parent, archive.name.removesuffix(".downloaded")
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=home))
    try:
        size = archive.stat().st_size
        with (
            archive.open("rb") as file,
            tqdm.wrapattr(file, "read", total=size, desc=f"unpacking {name}", disable=not verbose) as watched,
            tarfile.open(fileobj=cast(Any, watched), mode="r|gz") as members,
        ):
            for member in members:
                _check_member(member, name)
                members.extract(member, temporary, filter="data")
        unpacked = temporary / CORPUS / folder.name
        if not unpacked.is_dir():
            raise ArgumentValueError(f"{name} must hold {CORPUS}/{folder.name}, got an archive without it.")
        folder.parent.mkdir(exist_ok=True)
        for document in unpacked.parent.iterdir():
            if document.is_file():  # licence, speakers, chapters
                os.replace(document, folder.parent / document.name)
        (unpacked / COMPLETE).touch()
        if folder.is_dir():  # empty, or of empty folders: what an interrupted unpacking by hand left
            os.rename(folder, temporary / "empty")
        os.rename(unpacked, folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, tarfile.TarError) and error.errno is not None:
            raise  # e.g. no space or no permission: not the archive's fault
        raise ArgumentValueError(f"{name} must be a tar.gz archive, got a damaged one ({error}).") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_member(member: tarfile.TarInfo, name: str) -> None:
    """Refuse members that the corpus does not contain: links, devices, and paths outside the corpus folder."""
    path = PurePosixPath(member.name)
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or ".." in parts or "\\" in member.name or parts[:1] != [CORPUS]:
        got = "a path outside of it"
    elif not (member.isfile() or member.isdir()):
        got = "a link or device"
    else:
        return
    raise ArgumentValueError(
        f"{name} must hold plain files and folders in {CORPUS}/, got {got}: {member.name!r}. Nothing was unpacked."
    )
