"""The services under measurement, as processes: start, first answer, memory, end."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BOUNDARY = "pawtag-benchmark"
POLL_S = 0.02
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it answers, its process, and seconds from its start to its first answer."""

    port: int
    process: subprocess.Popen[bytes]
    first_answer_s: float
    home: Path

    @property
    def url(self) -> str:
        """Where it tags."""
        return f"http://127.0.0.1:{self.port}/tag"

    def read_resident_mb(self) -> float:
        """Its resident memory, its children's included."""
        return sum(_read_resident_kib(pid) for pid in (self.process.pid, *_list_children(self.process.pid))) / 1000


def build_form(photo: bytes) -> tuple[bytes, dict[str, str]]:
    """A photo as form data: the body and its headers."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@contextmanager
def run_pawtag(model: str, cache: Path, probe: bytes, *, photos: Path | None = None) -> Iterator[Service]:
    """The daemon of this environment with the model, on a folder of its own that gets a copy of the photos first."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "photos"
        if photos:
            shutil.copytree(photos, folder)
        port = _find_free_port()
        command = [sys.executable, "-m", "pawtag", "run", "--port", str(port), "--model", model]
        own = {"HOME": home, "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PAWTAG_LOG__LEVEL": "warning"}
        with _run(command, own, Path(home), port, probe) as service:
            yield service


@contextmanager
def run_baseline(python: Path, checkpoint: str, probe: bytes) -> Iterator[Service]:
    """The plain service."""
    with tempfile.TemporaryDirectory() as home:
        port = _find_free_port()
        command = [str(python), str(Path(__file__).with_name("baseline.py")), checkpoint, "--port", str(port)]
        with _run(command, {"HF_HUB_OFFLINE": "1"}, Path(home), port, probe) as service:
            yield service


@contextmanager
def _run(command: list[str], own: dict[str, str], home: Path, port: int, probe: bytes) -> Iterator[Service]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAWTAG_", "XDG_", "HF_"))}
    with (home / "log").open("wb") as log:
        started_s = time.perf_counter()
        process = subprocess.Popen(command, cwd=home, env=kept | own, stdout=log, stderr=log)
    try:
        _wait_for_answer(port, probe, process, home / "log")
        yield Service(port, process, time.perf_counter() - started_s, home)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_answer(port: int, probe: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    body, headers = build_form(probe)
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/tag", body, headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None:
                raise SystemExit(f"{process.args} ended:\n{log.read_text()[-2000:]}") from None
            time.sleep(POLL_S)
    raise SystemExit(f"{process.args} did not answer:\n{log.read_text()[-2000:]}")


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _read_resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _list_children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
