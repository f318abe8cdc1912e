"""An HTTP server in front of a store: it forwards requests, counts them, and causes the faults of a test."""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

PIECE_BYTES = 64 * 1024
HOP = {"connection", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Asked:
    """A request as the store would see it. `operation` is SQS's or EventBridge's, else empty."""

    method: str
    path: str
    query: str
    operation: str
    credentials: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """By their names in lower case."""

    @property
    def tagging(self) -> bool:
        return "tagging" in self.query


@dataclass(frozen=True)
class Answer:
    """The proxy's answer instead of the store's: an error, or `body`. `cut`: half of the store's own answer."""

    status: int = 500
    code: str = "InternalError"
    cut: bool = False
    body: bytes | None = None
    delay_s: float = 0.0
    wrong_length: int = 0
    without: str = ""
    """A header of the store's own answer that is left out."""


@dataclass
class FaultProxy:
    """In front of `target`. `fault(asked)` gives an Answer, or None to pass the request on."""

    target: str
    fault: Callable[[Asked], Answer | None] = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    """How much of the store's answers the client took."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str, *, tagging: bool = False, ends: str = "") -> int:
        """How many requests of that kind came for keys that end with `ends`."""
        return sum(one.method == method and one.tagging == tagging and one.path.endswith(ends) for one in self.asked)


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class of small methods
    target = urlsplit(proxy.target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            chunked = self.headers.get("Transfer-Encoding") == "chunked"
            body = self._chunks() if chunked else self.rfile.read(length)
            parts = urlsplit(self.path)
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            asked = Asked(
                self.command,
                parts.path,
                parts.query,
                operation,
                self.headers.get("Authorization", ""),
                body,
                {name.lower(): value for name, value in self.headers.items()},
            )
            proxy.asked.append(asked)
            answer = proxy.fault(asked)
            if answer is not None:
                time.sleep(answer.delay_s)
                if not (answer.cut or answer.wrong_length or answer.without):
                    self._refuse(answer)
                    return
            self._pass_on(body, answer)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def _pass_on(self, body: bytes, answer: Answer | None) -> None:
            connection = http.client.HTTPConnection(target, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            content = found.read()
            self.send_response(found.status)
            for name, value in found.getheaders():
                if name.lower() not in HOP and name.lower() != (answer.without if answer else ""):
                    self.send_header(name, value)
            length = found.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", str(int(length) + (answer.wrong_length if answer else 0)))
            self.end_headers()
            if self.command != "HEAD":
                self._send(content[: len(content) // 2] if answer and answer.cut else content)
            if answer and (answer.cut or answer.wrong_length):
                self.close_connection = True
            connection.close()

        def _send(self, content: bytes) -> None:
            for start in range(0, len(content), PIECE_BYTES):
                self.wfile.write(content[start : start + PIECE_BYTES])
                proxy.sent_bytes += len(content[start : start + PIECE_BYTES])

        def _refuse(self, answer: Answer) -> None:
            if answer.body is not None:
                content = answer.body
            elif self.headers.get("X-Amz-Target"):
                content = f'{{"__type": "com.amazonaws.sqs#{answer.code}", "message": "no"}}'.encode()
            else:
                content = f"<Error><Code>{answer.code}</Code><Message>no</Message></Error>".encode()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


def once(matches, answer, times: int = 1):
    """A fault that comes so many times."""
    left = [times]

    def fault(asked):
        if left[0] and matches(asked):
            left[0] -= 1
            return answer
        return None

    return fault


def is_read(asked) -> bool:
    return asked.method == "GET" and asked.path.endswith("a.png") and not asked.tagging


def is_tagging(asked) -> bool:
    return asked.method == "PUT" and asked.tagging


def deny(key: str):
    return lambda asked: Answer(403, "AccessDenied") if asked.method == "GET" and asked.path.endswith(key) else None
