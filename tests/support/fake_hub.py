"""A model hub on loopback: the routes of the real one for local checkpoints, and its faults."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
LARGE = (".safetensors", ".bin")
PIECE = 64 * 1024

# A fault answers a request in place of the hub; it may also change how the hub answers, and return False.
Fault = Callable[["Handler", bytes], bool]


@dataclass
class FakeHub:
    """One model at one commit. Each of `faults` happens once: to the first request with its key in the path."""

    folder: Path
    model_id: str
    commit: str = COMMIT
    address: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    keys: dict[str, set[str | None]] = field(default_factory=dict)  # the Authorization headers seen, by host
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    pause_s: float = 0.0  # after each piece of a large file
    lies: bytes = b""  # put in the place of a large file's last bytes

    def fault_for(self, method: str, path: str) -> Fault | None:
        for number, (key, fault) in enumerate(self.faults):
            if key in f"{method} {path}":
                del self.faults[number]
                return fault
        return None

    def fetched(self, name: str) -> list[str | None]:
        """The Range of each GET for the content of a file."""
        return [ranged for method, path, ranged in self.requests if method == "GET" and path.endswith(name)]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def refuse(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, *, with_body: bool) -> None:
        hub = self.hub
        hub.requests.append((self.command, self.path, self.headers.get("Range")))
        host = str(self.headers.get("Host")).split(":")[0]
        hub.keys.setdefault(host, set()).add(self.headers.get("Authorization"))
        found = re.fullmatch(rf"/({re.escape(hub.model_id)}/resolve/[^/]+|cdn)/([\w.-]+)", self.path)
        path = hub.folder / found[2] if found else None
        if path is None or not path.is_file():
            self.refuse(404, X_Error_Code="EntryNotFound" if found else "RepoNotFound")
            return
        content, sha256, sha1 = described(path)
        fault = hub.fault_for(self.command, self.path)
        if fault and fault(self, content):
            return
        is_large = path.suffix in LARGE
        if is_large and found[1] != "cdn":
            self.refuse(
                302,
                b"",
                Location=f"{hub.address.replace('127.0.0.1', 'localhost')}/cdn/{path.name}",
                X_Repo_Commit=hub.commit,
                X_Linked_Etag=f'"{sha256}"',
                X_Linked_Size=str(len(content)),
            )
            return
        if is_large and hub.lies:
            content = content[: -len(hub.lies)] + hub.lies
        self.send(content, ETag=f'"{sha1}"', X_Repo_Commit=hub.commit, with_body=with_body)

    def send(self, content: bytes, *, with_body: bool = True, claim: int | None = None, **headers: str) -> None:
        """Send the content from the requested byte on; `claim`: a wrong Content-Length."""
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.send_response(206 if first else 200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) - first if claim is None else claim))
        self.end_headers()
        if with_body:
            self._pour(content[first:])

    def _pour(self, content: bytes) -> None:
        try:
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])
                time.sleep(self.hub.pause_s if len(content) > PIECE else 0)
        except OSError:
            self.close_connection = True  # the daemon was killed


@cache
def described(path: Path) -> tuple[bytes, str, str]:
    """A file's content and its two digests; the hub's files do not change."""
    content = path.read_bytes()
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content)
    return content, hashlib.sha256(content).hexdigest(), git.hexdigest()


@contextmanager
def fake_hub(folder: Path, model_id: str = "openai/clip-vit-base-patch32", **more) -> Iterator[FakeHub]:
    """The hub, answering while the context lasts."""
    hub = FakeHub(folder, model_id, **more)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    server.block_on_close = False
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int, body: bytes = b"{}", **headers: str) -> Fault:
    """An answer of that status."""

    def fault(handler: Handler, _: bytes) -> bool:
        handler.refuse(code, body, **headers)
        return True

    return fault


def html(handler: Handler, _: bytes) -> bool:
    """A proxy's log-in page, with 200."""
    handler.refuse(200, b"<html>Please log in</html>", Content_Type="text/html")
    return True


def silent(handler: Handler, _: bytes) -> bool:
    """Takes the request and never answers."""
    handler.close_connection = True
    time.sleep(5)
    return True


def cut(after: int) -> Fault:
    """The connection breaks after so many bytes."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send(content[:after], claim=len(content), ETag='"x"')
        handler.close_connection = True
        return True

    return fault


def truncated(after: int) -> Fault:
    """So many bytes, called the whole."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send(content[:after], ETag='"x"')
        return True

    return fault
