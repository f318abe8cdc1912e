"""The real process, started as a user starts it."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TIMEOUT_S = 40
WITHIN_S = 20


@dataclass
class Daemon:
    """A running `pawtag run`: its process, its address, the file that holds its log."""

    process: subprocess.Popen
    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.log.read_text()

    def wait_until_said(self, what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while what not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The surroundings of a user whose files are all below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAWTAG_", "XDG_", "HF_"))}
    own = {
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PAWTAG_LOG__FORMAT": "plain",
        "XDG_CACHE_HOME": str(shared_cache()),
    }
    return kept | own | settings


@cache
def shared_cache() -> Path:
    """One cache for all: the prompts of the labels that ship are embedded once."""
    folder = tempfile.mkdtemp(prefix="pawtag-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def command(*arguments: object, home: Path, stdin: bytes | None = None, **settings: str) -> subprocess.CompletedProcess:
    """Run one pawtag command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pawtag", *map(str, arguments)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        cwd=home,
        env=environment(home, **settings),
        timeout=TIMEOUT_S,
    )


@contextmanager
def daemon(
    home: Path, *arguments: object, ready: bool = True, prefix: Sequence[str] = (), **settings: str
) -> Iterator[Daemon]:
    """A daemon in `home`, killed at the end if it still lives. `prefix`: a command that executes it."""
    port = free_port()
    log = home / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "pawtag", "run", "--port", str(port), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=environment(home, **settings),
        )
    running = Daemon(process, port, log)
    try:
        if ready:
            running.wait_until_said("ready")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody answers on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def sidecar(photo: Path, within_s: float = WITHIN_S) -> dict:
    """The photo's record, as soon as it is there."""
    return json.loads(wait_for(photo.parent / f"{photo.name}.json", within_s).read_text())


def wait_for(path: Path, within_s: float = WITHIN_S) -> Path:
    """The path, as soon as something is there."""
    deadline = time.monotonic() + within_s
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)
    return path


def post(address: str, data: bytes, path: str = "/tag") -> object:
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
        return json.load(response)


def get(address: str, path: str, *, allow_error: bool = False) -> dict:
    try:
        with urllib.request.urlopen(address + path, timeout=WITHIN_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if not allow_error:
            raise
        with error:
            return json.load(error)
