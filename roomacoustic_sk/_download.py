"""Downloads that resume after an interruption and are kept only if their checksum is correct."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from roomacoustic_sk._validation import ArgumentValueError, NamedError, describe

CHUNK = 1 << 14  # bytes read at once; an attempt that brings less made no progress
MOST = 1 << 40  # bytes; a server that sends more than this never ends
HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
POLL = 0.2  # s between looks at a lock
PATIENCE = 3600.0  # s to wait for another process that shows no sign of life


class DownloadError(NamedError, ConnectionError):
    """A server cannot be reached, refuses the request, or drops the connection too often."""


def check_checksum(checksum: Any) -> str:
    """Return a checksum in lower case, or raise if it is not one that can be verified.

    Raises
    ------
    ArgumentValueError
        If it is not the name of an algorithm, a colon and a hexadecimal digest of the right length.
    """
    algorithm, _, digest = checksum.strip().lower().partition(":") if isinstance(checksum, str) else ("", "", "")
    if algorithm not in HASHES:
        raise ArgumentValueError(
            f"checksum must be 'md5:...' or 'sha256:...' (or another of {', '.join(HASHES)}), got {describe(checksum)}."
        )
    n_digits = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
    if len(digest) != n_digits or not set(digest) <= set("0123456789abcdef"):
        raise ArgumentValueError(
            f"checksum must have {n_digits} hexadecimal digits after '{algorithm}:', got {describe(checksum)}."
        )
    return f"{algorithm}:{digest}"


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum, such as "md5:..."."""
    algorithm, _, digest = checksum.partition(":")
    computed = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            computed.update(block)
    return computed.hexdigest() == digest


def fetch(
    url: str,
    folder: Path,
    name: str,
    checksum: str,
    *,
    attempts: int,
    timeout: float,
    verbose: int,
    part: str | None = None,
) -> Path:
    """Download a file once, and return its path.

    A partial download is kept as `part` and resumes from there, in this call or in the next one. A file that is already
    present with the correct checksum is not downloaded again.

    Parameters
    ----------
    url : str
        URL of the file.
    folder : Path
        Folder in which to keep the file, created if it does not exist.
    name : str
        File name in that folder.
    checksum : str
        "md5:..." or "sha256:...".
    attempts : int
        Number of consecutive attempts without progress before giving up; progress is at least 16 kB.
    timeout : float
        Seconds to wait for the server to respond, and within which 16 kB must arrive.
    verbose : int
        Whether to show a progress bar.
    part : str, optional
        Name of the partial download; ``<name>.part`` by default.

    Returns
    -------
    Path
        ``folder / name``.

    Raises
    ------
    DownloadError
        If the server cannot be reached, does not have the file, or fails `attempts` times in a row without progress.
    ArgumentValueError
        If the checksum is of an unknown kind, or wrong. The file is then deleted.
    """
    import pooch

    if checksum.partition(":")[0] not in HASHES:
        check_checksum(checksum)
    folder.mkdir(parents=True, exist_ok=True)
    downloader = _ResumingDownloader(folder / (part or f"{name}.part"), attempts, timeout, verbose)
    try:
        pooch.retrieve(url, checksum, name, folder, downloader=downloader)
    except ValueError as error:
        raise ArgumentValueError(
            f"{url} must have the known checksum, got a damaged or changed archive, which was deleted. "
            f"Call again to repeat the download. ({error})"
        ) from error
    return folder / name


class _ResumingDownloader(NamedTuple):
    """A downloader for pooch that keeps a partial download in `part` and resumes from there."""

    part: Path
    attempts: int
    timeout: float
    verbose: int

    def __call__(self, url: str, output_file: str | Path, pooch: Any) -> None:
        """Download `url` to `output_file`."""
        import requests

        failures = 0
        while True:
            before = self._size()
            try:
                self._fetch_rest(url)
                break
            except requests.HTTPError as error:
                # The server understood the request and refused it; trying again is useless.
                if error.response is not None and error.response.status_code < 500:
                    raise DownloadError(f"{url} must be an archive, got the response: {error}.") from error
                problem: Exception = error
            except (requests.RequestException, _BrokenOffError) as error:
                problem = error
            failures = 1 if self._size() >= before + CHUNK else failures + 1
            if failures >= self.attempts:
                raise DownloadError(
                    f"{url} must be reachable, got {problem} in {failures} attempts. Check the "
                    f"connection and call again to resume from the {self._size() / 1e6:.1f} MB downloaded so far."
                ) from problem
            time.sleep(min(10.0, 0.1 * 4**failures))
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch_rest(self, url: str) -> None:
        """Request the missing bytes (RFC 9110, section 14) and append them."""
        import requests

        have = self._size()
        # No compression in transit, so that offsets and lengths refer to the archive itself.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if content_range == f"bytes */{have}":
                    return  # already complete
                self.part.unlink()  # not part of this archive
                raise _BrokenOffError("a different archive than the one begun")
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            if resumed and not content_range.startswith(f"bytes {have}-"):
                raise _BrokenOffError(f"the wrong range ({content_range})")
            have = have if resumed else 0  # a server without support for ranges sends the whole file
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdecimal() else None
            if (total or 0) > MOST:
                raise DownloadError(f"{url} must be an archive, got a response of {total} bytes.")
            self._append(response, have, total)
        if total is not None and self._size() < total:
            raise _BrokenOffError(f"{self._size()} of {total} bytes")

    def _append(self, response: Any, have: int, total: int | None) -> None:
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.part.stem, disable=not self.verbose)
        with bar, self.part.open("ab" if have else "wb") as file:
            begun, since = time.monotonic(), 0
            for chunk in _as_it_comes(response):
                file.write(chunk)
                bar.update(len(chunk))
                have, since = have + len(chunk), since + len(chunk)
                if have > (MOST if total is None else total):
                    raise _BrokenOffError("more bytes than there can be")
                if since >= CHUNK:
                    begun, since = time.monotonic(), 0
                elif time.monotonic() - begun > self.timeout:
                    raise _BrokenOffError(f"only {since} bytes in {self.timeout:g} s")


def _as_it_comes(response: Any) -> Iterator[bytes]:
    """Yield what has arrived of a response, so that one that trickles in can be given up."""
    import requests
    import urllib3

    try:
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
            yield from response.iter_content(CHUNK)
            return
        while chunk := response.raw.read1(CHUNK):
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, requests.RequestException):
            raise
        raise _BrokenOffError(str(error)) from error


class _BrokenOffError(Exception):
    """The server sent less than requested, or something else."""


# --- One process at a time ----------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which is there only meanwhile, after waiting for another process that holds it.

    Raises
    ------
    DownloadError
        If the files in its folder have not changed for an hour while another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    seen, since = None, time.monotonic()
    while (lock := _try_lock(path)) is None:
        signs = _signs_of_life(path.parent)
        if signs != seen:
            seen, since = signs, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise DownloadError(
                f"{path} must be released by the process that holds it, got no change in its folder for "
                f"{PATIENCE / 60:.0f} min. End that process, and call again."
            )
        time.sleep(POLL)
    try:
        yield
    finally:
        if os.name != "nt":
            path.unlink(missing_ok=True)
        os.close(lock)
        if os.name == "nt":
            path.unlink(missing_ok=True)


def _signs_of_life(folder: Path) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of the files in a folder."""
    signs = []
    for entry in os.scandir(folder):
        try:
            status = entry.stat()
        except FileNotFoundError:
            continue
        signs.append((entry.name, status.st_size, status.st_mtime_ns))
    return sorted(signs)


def _try_lock(path: Path) -> int | None:
    """Return the open lock file, or None if another process holds it; the system frees it if that process dies."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(path)):
            return lock
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # held, or removed by the process that held it
    except OSError:
        return lock  # a file system without locks: better two downloads than none
    os.close(lock)
    return None
