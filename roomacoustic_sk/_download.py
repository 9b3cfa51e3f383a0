"""Downloads that resume after an interruption and are kept only if their checksum is correct."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from roomacoustic_sk._validation import ArgumentValueError, NamedError

CHUNK = 1 << 14  # bytes; the most that can be lost when the connection drops


class DownloadError(NamedError, ConnectionError):
    """A server cannot be reached, refuses the request, or drops the connection too often."""


def fetch(url: str, folder: Path, name: str, checksum: str, *, attempts: int, timeout: float, verbose: int) -> Path:
    """Download a file once, and return its path.

    A partial download is kept as ``<name>.part`` and resumes from there, in this call or in the next one. A file that
    is already present with the correct checksum is not downloaded again.

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
        Number of consecutive attempts without progress before giving up.
    timeout : float
        Seconds to wait for the server to respond.
    verbose : int
        Whether to show a progress bar.

    Returns
    -------
    Path
        ``folder / name``.

    Raises
    ------
    DownloadError
        If the server cannot be reached, does not have the file, or fails `attempts` times in a row without progress.
    ArgumentValueError
        If the checksum is wrong. The file is then deleted.
    """
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    downloader = _ResumingDownloader(folder / f"{name}.part", attempts, timeout, verbose)
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
            failures = 1 if self._size() > before else failures + 1
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
            total = have + int(length) if length else None
            self._append(response, have, total)
        if total is not None and self._size() < total:
            raise _BrokenOffError(f"{self._size()} of {total} bytes")

    def _append(self, response: Any, have: int, total: int | None) -> None:
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.part.stem, disable=not self.verbose)
        with bar, self.part.open("ab" if have else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


class _BrokenOffError(Exception):
    """The server sent less than requested, or something else."""
