"""A vendor's server on this machine: it answers with what a test puts into it, and writes down what it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from bastion_tee.collateral import Answer, fetch_https


@dataclass
class Vendor:
    """answers: status, headers and body by address without its host. asked: addresses in their order."""

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, url: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer an address; names of headers are written with underscores."""
        self.answers[_path(url)] = (status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    def fetch(self, url: str) -> Answer:
        """Fetch a vendor's address from this server."""
        return fetch_https(f"http://127.0.0.1:{self.port}{_path(url)}", schemes=("http",), timeout=5)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@contextmanager
def vendor_server() -> Iterator[Vendor]:
    """Run one."""
    vendor = Vendor()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            vendor.asked.append(self.path)
            status, headers, body = vendor.answers.get(self.path, (404, {}, b"no such thing"))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendor.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
