"""A server on this machine that serves one archive, and can break off, ignore ranges, or fail for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `archive` as dev-clean.tar.gz."""

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


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server in a thread of its own."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
