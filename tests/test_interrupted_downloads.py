"""Downloads end, whatever a server does, keep what came, and leave alone what the user put there."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomacoustic_sk import _download
from roomacoustic_sk._download import check_checksum, locked
from roomacoustic_sk.datasets import fetch_librispeech

FLAC = "LibriSpeech/dev-clean/1/2/1-2-0000.flac"


def archive() -> bytes:
    file, content = io.BytesIO(), np.random.default_rng(0).bytes(100_000)
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo(FLAC)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = archive()
CHECKSUM = f"md5:{hashlib.md5(ARCHIVE).hexdigest()}"


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """Run a server that answers as told; give its URL and the requests that came."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.path)
            with suppress(OSError):
                answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()


def whole(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(ARCHIVE)))
    handler.end_headers()
    handler.wfile.write(ARCHIVE)


def fetched(url: str, home: Path, **options: Any) -> Path:
    return fetch_librispeech(data_home=home, base_url=url, **{"checksum": CHECKSUM, "verbose": 0, **options})


@pytest.mark.parametrize(
    "wrong", ["md6:00", "md4:00", "00", "md5:", "md5:xyz", "sha256:" + "0" * 32, "", 5, "shake_128:00"]
)
def test_unusable_checksums_are_refused_before_the_download(tmp_path: Path, wrong: Any) -> None:
    with serving(whole) as (url, came), pytest.raises(ValueError, match=r"^fetch_librispeech: checksum must"):
        fetched(url, tmp_path, checksum=wrong)
    assert came == []
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_may_be_in_capitals() -> None:
    assert check_checksum(CHECKSUM.upper()) == CHECKSUM


def trickle(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def a_byte_each_time(handler: BaseHTTPRequestHandler) -> None:
    first = int((handler.headers["Range"] or "bytes=0-")[6:-1])
    handler.send_response(206 if first else 200)
    handler.send_header("Content-Range", f"bytes {first}-999999/1000000")
    handler.send_header("Content-Length", str(1_000_000 - first))
    handler.end_headers()
    handler.wfile.write(b"x")


def eight_pebibytes(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 53))
    handler.end_headers()


def redirects(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path + "x")
    handler.end_headers()


def silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


@pytest.mark.parametrize("answer", [trickle, a_byte_each_time, eight_pebibytes, redirects, silence])
def test_a_server_that_answers_for_ever_is_given_up(tmp_path: Path, answer: Callable[..., None]) -> None:
    begun = time.monotonic()
    with serving(answer) as (url, _), pytest.raises(ConnectionError, match=r"^fetch_librispeech: http"):
        fetched(url, tmp_path, attempts=2, timeout=0.5)
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "LibriSpeech").exists()


def test_an_endless_answer_ends_at_the_most_there_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(10_000))

    monkeypatch.setattr(_download, "MOST", 1_000_000)
    with serving(endless) as (url, _), pytest.raises(ConnectionError, match="more bytes than there can be"):
        fetched(url, tmp_path, attempts=2, timeout=5)


def test_an_archive_of_the_user_is_unpacked_and_stays(tmp_path: Path) -> None:
    (tmp_path / "dev-clean.tar.gz").write_bytes(ARCHIVE)
    folder = fetched("http://127.0.0.1:9", tmp_path)
    assert (tmp_path / FLAC).is_file()
    assert fetched("http://127.0.0.1:9", tmp_path) == folder
    assert (tmp_path / "dev-clean.tar.gz").read_bytes() == ARCHIVE


def test_an_archive_of_the_user_that_is_another_one_stays(tmp_path: Path) -> None:
    (tmp_path / "dev-clean.tar.gz").write_bytes(b"something else")
    with serving(whole) as (url, _), pytest.warns(UserWarning, match="does not have the checksum"):
        fetched(url, tmp_path)
    assert (tmp_path / "dev-clean.tar.gz").read_bytes() == b"something else"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LibriSpeech", "dev-clean.tar.gz"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_downloaded_stays_when_unpacking_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    with serving(whole) as (url, came):
        with monkeypatch.context() as patch:
            patch.setattr(tarfile.TarFile, "extract", fail)
            with pytest.raises(type(error)):
                fetched(url, tmp_path)
        fetched(url, tmp_path)
        assert len(came) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["LibriSpeech"]


def test_a_folder_left_half_unpacked_is_not_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech" / "dev-clean" / "1" / "2").mkdir(parents=True)
    with serving(whole) as (url, _):
        assert (fetched(url, tmp_path) / "1" / "2" / "1-2-0000.flac").is_file()  # empty folders are nobody's
    (tmp_path / "other" / FLAC).parent.mkdir(parents=True)
    (tmp_path / "other" / FLAC).touch()
    with pytest.raises(ValueError, match=r"data_home must hold all of dev-clean .* got 1 of its 2703 utterances"):
        fetched("http://127.0.0.1:9", tmp_path / "other")
    assert (tmp_path / "other" / FLAC).exists()


def test_calls_at_once_download_once(tmp_path: Path) -> None:
    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        whole(handler)

    with serving(slowly) as (url, came):
        calls = [threading.Thread(target=fetched, args=(url, tmp_path)) for _ in range(4)]
        for call in calls:
            call.start()
        for call in calls:
            call.join(timeout=30)
        assert len(came) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["LibriSpeech"]


def test_waiting_for_a_process_that_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "PATIENCE", 0.3)
    with (
        locked(tmp_path / "a.lock"),
        pytest.raises(ConnectionError, match="must be released"),
        locked(tmp_path / "a.lock"),
    ):
        pass
    with locked(tmp_path / "a.lock"):
        pass
    assert list(tmp_path.iterdir()) == []
