"""Downloads resume, are checked and leave nothing wrong behind, against a server on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import requests
from archive_server import Server
from toys import files_below

from roomacoustic_sk import _download
from roomacoustic_sk._download import DownloadError

pytestmark = pytest.mark.usefixtures("no_waiting")

CONTENT = np.random.default_rng(0).bytes(200_000)


def download(server: Server, home: Path, checksum: str | None = None, name: str = "dev-clean.tar.gz") -> Path:
    checksum = checksum or f"md5:{hashlib.md5(server.archive).hexdigest()}"
    return _download.fetch(f"{server.url}/{name}", home, name, checksum, attempts=5, timeout=30.0, verbose=0)


def test_a_file_is_downloaded_unchanged_into_a_new_folder(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    path = download(server, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "dev-clean.tar.gz"
    assert path.read_bytes() == CONTENT
    assert files_below(path.parent) == ["dev-clean.tar.gz"]


def test_the_second_call_needs_no_server(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    folder = download(server, tmp_path)
    assert len(server.requests) == 1
    server.failures = 100
    assert download(server, tmp_path) == folder
    assert len(server.requests) == 1


def test_a_broken_download_resumes_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    server.break_after = len(server.archive) // 3 + 1
    download(server, tmp_path)
    begins = [0 if asked is None else int(asked[len("bytes=") : -1]) for asked in server.requests]
    assert len(begins) >= 3
    # Nothing is asked for again but the last incomplete block before each break.
    assert all(0 <= step - 1 < server.break_after <= step + _download.CHUNK for step in np.diff(begins))


def test_an_abandoned_download_resumes_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    part = tmp_path / "dev-clean.tar.gz.part"
    part.write_bytes(server.archive[:1000])
    server.failures = 5
    with pytest.raises(ConnectionError, match=r"^http.*503.*to resume from the 0\.0 MB downloaded so far"):
        download(server, tmp_path)
    assert files_below(tmp_path) == ["dev-clean.tar.gz.part"]
    download(server, tmp_path)
    assert server.requests[-1] == "bytes=1000-"
    assert not part.exists()


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.archive, server.knows_ranges = CONTENT, False
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(b"old" * 100)
    assert download(server, tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(server.archive)
    assert download(server, tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_discarded(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(server.archive + b"more")
    assert download(server, tmp_path).read_bytes() == CONTENT


def test_a_tampered_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    right = f"md5:{hashlib.md5(server.archive).hexdigest()}"
    tampered = bytearray(server.archive)
    tampered[len(tampered) // 2] ^= 1
    server.archive = bytes(tampered)
    with pytest.raises(ValueError, match=r"^http.* must have the known checksum"):
        download(server, tmp_path, right)
    assert files_below(tmp_path) == []
    server.archive = CONTENT
    assert download(server, tmp_path, right).read_bytes() == CONTENT


def test_a_part_of_another_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.archive = CONTENT
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(b"other" * 100)
    with pytest.raises(ValueError, match=r"^http.* must have the known checksum"):
        download(server, tmp_path)
    assert files_below(tmp_path) == []
    assert download(server, tmp_path).read_bytes() == CONTENT


def test_a_missing_file_is_requested_only_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"^http.*404"):
        download(server, tmp_path, "md5:0", name="test-clean.tar.gz")
    assert len(server.requests) == 1
    assert files_below(tmp_path) == []


def test_an_unreachable_server_is_one_clear_error(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/dev-clean.tar.gz"
    with pytest.raises(DownloadError, match=r"^http.* must be reachable") as caught:
        _download.fetch(url, tmp_path, "dev-clean.tar.gz", "md5:0", attempts=2, timeout=30.0, verbose=0)
    assert isinstance(caught.value.__cause__, requests.RequestException)
