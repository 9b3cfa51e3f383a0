"""The download of LibriSpeech, run against a server on this machine that serves archives of the same layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile

from roomacoustic_sk.datasets import _librispeech
from roomacoustic_sk.datasets._librispeech import CHECKSUMS, fetch_librispeech
from roomacoustic_sk.datasets._speech import load_speech


class Server(ThreadingHTTPServer):
    """Serves one archive, and can break off, ignore ranges, or fail for a while."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = b""
        self.knows_ranges = True
        self.break_after: int | None = None  # bytes to send of each answer
        self.failures = 0  # answers with status 503 to come
        self.requests: list[str | None] = []  # the Range header of each

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/resources/12"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.requests.append(asked)
        if self.server.failures:
            self.server.failures -= 1
            return self.send_error(503)
        if self.path != "/resources/12/dev-clean.tar.gz":
            return self.send_error(404)
        archive, first = self.server.archive, 0
        if asked and self.server.knows_ranges:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(archive):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(archive)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(archive) - 1}/{len(archive)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(archive) - first))
        self.end_headers()
        stop = None if self.server.break_after is None else first + self.server.break_after
        self.wfile.write(archive[first:stop])
        return None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_librispeech.time, "sleep", lambda seconds: None)


def flac(seconds: float, seed: int) -> bytes:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))
    soundfile.write(file, noise, 16000, format="FLAC")
    return file.getvalue()


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


CONTENT = [
    plain("LibriSpeech/LICENSE.TXT", b"CC BY 4.0"),
    plain("LibriSpeech/SPEAKERS.TXT", b"; ID"),
    *(
        plain(f"LibriSpeech/dev-clean/{s}/{c}/{s}-{c}-0000.flac", flac(1.5, s * c))
        for s, c in ((84, 121123), (84, 121550), (174, 50561))
    ),
]


def pack(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)  # the clock would change the checksum from second to second


def fetch(server: Server, home: Path, checksum: str | None = None) -> Path:
    checksum = checksum or f"md5:{hashlib.md5(server.archive).hexdigest()}"
    return fetch_librispeech("dev-clean", data_home=home, base_url=server.url, checksum=checksum, verbose=0)


def names(home: Path) -> list[str]:
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*"))


def test_the_corpus_arrives_in_its_layout_and_load_speech_reads_it(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    folder = fetch(server, tmp_path)
    assert folder == tmp_path / "LibriSpeech" / "dev-clean"
    for member, content in CONTENT:
        assert (tmp_path / member.name).read_bytes() == content
    assert names(tmp_path)[0] == "LibriSpeech"  # neither archive nor temporary folder are left
    assert {name.split("/")[0] for name in names(tmp_path)} == {"LibriSpeech"}
    assert set(load_speech(folder, duration=1.0).speaker) == {"84", "174"}


def test_the_second_call_asks_no_server(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    folder = fetch(server, tmp_path)
    assert len(server.requests) == 1
    server.failures = 100
    assert fetch(server, tmp_path) == folder
    assert len(server.requests) == 1


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    server.break_after = len(server.archive) // 3 + 1
    fetch(server, tmp_path)
    begins = [0 if asked is None else int(asked[len("bytes=") : -1]) for asked in server.requests]
    assert len(begins) >= 3
    # Nothing is asked for again but the last incomplete block before each break.
    assert all(0 <= step - 1 < server.break_after <= step + _librispeech.CHUNK for step in np.diff(begins))


def test_a_download_that_was_given_up_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    part = tmp_path / "dev-clean.tar.gz.part"
    part.write_bytes(server.archive[:1000])
    server.failures = 5
    with pytest.raises(ConnectionError, match=r"fetch_librispeech: .*503.*goes on from the 0\.0 MB that are here"):
        fetch(server, tmp_path)
    assert names(tmp_path) == ["dev-clean.tar.gz.part"]
    fetch(server, tmp_path)
    assert server.requests[-1] == "bytes=1000-"
    assert not part.exists()


def test_a_server_that_knows_no_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.archive, server.knows_ranges = pack(CONTENT), False
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(b"old" * 100)
    assert fetch(server, tmp_path).is_dir()


def test_a_part_that_is_already_complete_needs_no_more(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(server.archive)
    assert fetch(server, tmp_path).is_dir()


def test_a_part_longer_than_the_archive_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(server.archive + b"more")
    assert fetch(server, tmp_path).is_dir()


def test_a_tampered_archive_is_refused_and_nothing_of_it_stays(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    right = f"md5:{hashlib.md5(server.archive).hexdigest()}"
    tampered = bytearray(server.archive)
    tampered[len(tampered) // 2] ^= 1
    server.archive = bytes(tampered)
    with pytest.raises(ValueError, match=r"fetch_librispeech: .* must have the known checksum"):
        fetch(server, tmp_path, right)
    assert names(tmp_path) == []
    server.archive = pack(CONTENT)
    assert fetch(server, tmp_path, right).is_dir()


def test_a_part_of_another_archive_is_refused_and_the_next_call_starts_anew(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    (tmp_path / "dev-clean.tar.gz.part").write_bytes(b"other" * 100)
    with pytest.raises(ValueError, match="must have the known checksum"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []
    assert fetch(server, tmp_path).is_dir()


def test_openslrs_checksum_holds_unless_another_is_given(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    with pytest.raises(ValueError, match=CHECKSUMS["dev-clean"].removeprefix("md5:")):
        fetch_librispeech("dev-clean", data_home=tmp_path, base_url=server.url, verbose=0)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "hostile",
    [
        plain("LibriSpeech/../../escaped.txt"),
        plain("../escaped.txt"),
        plain("/tmp/roomacoustic_sk_escaped.txt"),
        plain("elsewhere/file.txt"),
        plain("LibriSpeech\\..\\..\\escaped.txt"),
        special("LibriSpeech/dev-clean/link", tarfile.SYMTYPE, "/etc"),
        special("LibriSpeech/dev-clean/link", tarfile.SYMTYPE, "84"),
        special("LibriSpeech/dev-clean/link", tarfile.LNKTYPE, "LibriSpeech/LICENSE.TXT"),
        special("LibriSpeech/dev-clean/device", tarfile.CHRTYPE),
        special("LibriSpeech/dev-clean/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member[0].name}-{member[0].type.decode()}-{member[0].linkname}",
)
def test_a_hostile_archive_is_refused_and_nothing_of_it_stays(
    server: Server, tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes]
) -> None:
    server.archive = pack([*CONTENT, hostile])
    home = tmp_path / "inner" / "home"
    with pytest.raises(ValueError, match=r"fetch_librispeech: dev-clean\.tar\.gz must hold plain files and folders in"):
        fetch(server, home)
    assert names(tmp_path) == ["inner", "inner/home"]
    assert not Path("/tmp/roomacoustic_sk_escaped.txt").exists()


@pytest.mark.parametrize("damage", ["no archive", "cut short", "without the subset"])
def test_a_damaged_archive_leaves_nothing_half_unpacked(server: Server, tmp_path: Path, damage: str) -> None:
    whole = pack(CONTENT)
    server.archive = {
        "no archive": b"<html>Not what you wanted</html>",
        "cut short": whole[: len(whole) // 2],
        "without the subset": pack(CONTENT[:2]),
    }[damage]
    with pytest.raises(ValueError, match=r"fetch_librispeech: dev-clean\.tar\.gz must"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_while_unpacking_is_reported_as_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    server.archive = pack(CONTENT)
    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_an_archive_that_the_server_does_not_have_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"fetch_librispeech: .*404"):
        fetch_librispeech("test-clean", data_home=tmp_path, base_url=server.url, verbose=0)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_no_server_at_all_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"fetch_librispeech: .* must be within reach") as caught:
        fetch_librispeech("dev-clean", data_home=tmp_path, base_url="http://127.0.0.1:9", attempts=2, verbose=0)
    assert isinstance(caught.value.__cause__, requests.RequestException)


def test_unknown_subsets_and_checksums_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fetch_librispeech: subset must be one of"):
        fetch_librispeech("dev-dirty", data_home=tmp_path)
    with pytest.raises(ValueError, match="fetch_librispeech: checksum must be"):
        fetch_librispeech("dev-clean", data_home=tmp_path, checksum="abc")


def test_progress_is_shown_when_asked_for(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.archive = pack(CONTENT)
    checksum = f"sha256:{hashlib.sha256(server.archive).hexdigest()}"
    fetch_librispeech("dev-clean", data_home=tmp_path, base_url=server.url, checksum=checksum)
    shown = capsys.readouterr().err
    assert "dev-clean.tar.gz: 100%" in shown
    assert "unpacking dev-clean.tar.gz" in shown
