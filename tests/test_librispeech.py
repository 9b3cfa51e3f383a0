"""The download of LibriSpeech, run against a server on this machine that serves archives of the same layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import requests
import soundfile
from archive_server import Server
from toys import RATE, files_below, noise

from roomacoustic_sk.datasets._librispeech import CHECKSUMS, fetch_librispeech
from roomacoustic_sk.datasets._speech import load_speech

pytestmark = pytest.mark.usefixtures("no_waiting")


def flac(seconds: float, seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(round(seconds * RATE), level=-20, seed=seed), RATE, format="FLAC")
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


def test_load_speech_reads_the_downloaded_corpus(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    folder = fetch(server, tmp_path)
    assert folder == tmp_path / "LibriSpeech" / "dev-clean"
    for member, content in CONTENT:
        assert (tmp_path / member.name).read_bytes() == content
    assert files_below(tmp_path)[0] == "LibriSpeech"  # neither archive nor temporary folder are left
    assert {name.split("/")[0] for name in files_below(tmp_path)} == {"LibriSpeech"}
    assert set(load_speech(folder, duration=1.0).speaker) == {"84", "174"}


def test_the_second_call_needs_no_server(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    folder = fetch(server, tmp_path)
    assert len(server.requests) == 1
    server.failures = 100
    assert fetch(server, tmp_path) == folder
    assert len(server.requests) == 1


def test_an_abandoned_download_resumes_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    part = tmp_path / "dev-clean.tar.gz.part"
    part.write_bytes(server.archive[:1000])
    server.failures = 5
    with pytest.raises(
        ConnectionError, match=r"fetch_librispeech: .*503.*to resume from the 0\.0 MB downloaded so far"
    ):
        fetch(server, tmp_path)
    assert files_below(tmp_path) == ["dev-clean.tar.gz.part"]
    fetch(server, tmp_path)
    assert server.requests[-1] == "bytes=1000-"
    assert not part.exists()


def test_a_tampered_archive_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    right = f"md5:{hashlib.md5(server.archive).hexdigest()}"
    tampered = bytearray(server.archive)
    tampered[len(tampered) // 2] ^= 1
    server.archive = bytes(tampered)
    with pytest.raises(ValueError, match=r"fetch_librispeech: .* must have the known checksum"):
        fetch(server, tmp_path, right)
    assert files_below(tmp_path) == []
    server.archive = pack(CONTENT)
    assert fetch(server, tmp_path, right).is_dir()


def test_openslrs_checksum_holds_unless_another_is_given(server: Server, tmp_path: Path) -> None:
    server.archive = pack(CONTENT)
    with pytest.raises(ValueError, match=CHECKSUMS["dev-clean"].removeprefix("md5:")):
        fetch_librispeech("dev-clean", data_home=tmp_path, base_url=server.url, verbose=0)
    assert files_below(tmp_path) == []


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
def test_a_hostile_archive_is_refused_and_deleted(
    server: Server, tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes]
) -> None:
    server.archive = pack([*CONTENT, hostile])
    home = tmp_path / "inner" / "home"
    with pytest.raises(ValueError, match=r"fetch_librispeech: dev-clean\.tar\.gz must hold plain files and folders in"):
        fetch(server, home)
    assert files_below(tmp_path) == ["inner", "inner/home"]
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
    assert files_below(tmp_path) == []


def test_a_full_disk_while_unpacking_is_reported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    server.archive = pack(CONTENT)
    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(server, tmp_path)
    assert files_below(tmp_path) == ["dev-clean.tar.gz.downloaded"]  # the next call unpacks it


def test_a_missing_archive_is_requested_only_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"fetch_librispeech: .*404"):
        fetch_librispeech("test-clean", data_home=tmp_path, base_url=server.url, verbose=0)
    assert len(server.requests) == 1
    assert files_below(tmp_path) == []


def test_an_unreachable_server_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"fetch_librispeech: .* must be reachable") as caught:
        fetch_librispeech("dev-clean", data_home=tmp_path, base_url="http://127.0.0.1:9", attempts=2, verbose=0)
    assert isinstance(caught.value.__cause__, requests.RequestException)


def test_unknown_subsets_and_checksums_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fetch_librispeech: subset must be one of"):
        fetch_librispeech("dev-dirty", data_home=tmp_path)
    with pytest.raises(ValueError, match="fetch_librispeech: checksum must be"):
        fetch_librispeech("dev-clean", data_home=tmp_path, checksum="abc")


def test_progress_is_shown_on_request(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.archive = pack(CONTENT)
    checksum = f"sha256:{hashlib.sha256(server.archive).hexdigest()}"
    fetch_librispeech("dev-clean", data_home=tmp_path, base_url=server.url, checksum=checksum)
    shown = capsys.readouterr().err
    assert "dev-clean.tar.gz: 100%" in shown
    assert "unpacking dev-clean.tar.gz" in shown
