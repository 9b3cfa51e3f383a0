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

from roomacoustic_sk._download import fetch
from roomacoustic_sk._validation import ArgumentValueError, check_choice, check_number, describe, door

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
    its checksum is correct. The folder appears only once it is complete; the archive is then deleted.

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
        Seconds to wait for the server to respond.
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
        If the subset is unknown, the archive's checksum is wrong, or the archive is damaged or contains anything but
        regular files and folders below ``LibriSpeech``. Archive and unpacked files are then deleted.

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
    if checksum is not None and (not isinstance(checksum, str) or ":" not in checksum):
        raise ArgumentValueError(f"checksum must be 'md5:...' or 'sha256:...', got {describe(checksum)}.")
    home = Path(pooch.os_cache("roomacoustic_sk") if data_home is None else data_home).expanduser()
    folder = home / CORPUS / subset
    if folder.is_dir():
        return folder
    archive = fetch(
        f"{base_url.rstrip('/')}/{subset}.tar.gz",
        home,
        f"{subset}.tar.gz",
        checksum or CHECKSUMS[subset],
        attempts=attempts,
        timeout=timeout,
        verbose=verbose,
    )
    try:
        _unpack(archive, folder, verbose)
    finally:
        archive.unlink(missing_ok=True)
    return folder


def _unpack(archive: Path, folder: Path, verbose: int) -> None:
    """Unpack an archive into a temporary folder, and move the subset to `folder` in one step once it is complete."""
    home = folder.parent.parent
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=home))
    try:
        size = archive.stat().st_size
        with (
            archive.open("rb") as file,
            tqdm.wrapattr(file, "read", total=size, desc=f"unpacking {archive.name}", disable=not verbose) as watched,
            tarfile.open(fileobj=cast(Any, watched), mode="r|gz") as members,
        ):
            for member in members:
                _check_member(member, archive)
                members.extract(member, temporary, filter="data")
        unpacked = temporary / CORPUS / folder.name
        if not unpacked.is_dir():
            raise ArgumentValueError(f"{archive.name} must hold {CORPUS}/{folder.name}, got an archive without it.")
        folder.parent.mkdir(exist_ok=True)
        for document in unpacked.parent.iterdir():
            if document.is_file():  # licence, speakers, chapters
                os.replace(document, folder.parent / document.name)
        os.rename(unpacked, folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, tarfile.TarError) and error.errno is not None:
            raise  # e.g. no space or no permission: not the archive's fault
        raise ArgumentValueError(f"{archive.name} must be a tar.gz archive, got a damaged one ({error}).") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_member(member: tarfile.TarInfo, archive: Path) -> None:
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
        f"{archive.name} must hold plain files and folders in {CORPUS}/, got {got}: {member.name!r}. "
        "Nothing was unpacked."
    )
