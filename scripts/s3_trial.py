"""Helpers for the scripts that measure pawtag on a store: clients, settings and daemons."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def client(service: str, endpoint: str) -> Any:
    """boto3's client of a store that speaks S3 and SQS at one address, with the credentials of the environment."""
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=16)
    return boto3.Session().client(service, endpoint_url=endpoint, region_name=REGION, config=config)


def photos_in(folder: Path) -> list[Path]:
    """The photos below a folder, by name."""
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]


def surroundings(endpoint: str, home: Path, **own: str) -> dict[str, str]:
    """The environment of a pawtag that uses this store and the shipped model, with its state in `home`."""
    s3 = {"ENDPOINT_URL": endpoint, "REGION": REGION, "ADDRESSING": "path"}
    others = {"PAWTAG_MODEL__ID": "embedded", "PAWTAG_STATE__DIR": str(home)}
    return os.environ | {f"PAWTAG_S3__{name}": value for name, value in s3.items()} | others | own


def pawtag(*arguments: str, before: Sequence[str] = ()) -> list[str]:
    """The command line; `before`: what starts it."""
    return [*before, sys.executable, "-m", "pawtag", *arguments]


@dataclass(frozen=True)
class Daemon:
    """A daemon's process, and the port that it answers on."""

    process: subprocess.Popen[bytes]
    port: int


@contextmanager
def daemon(home: Path, environment: dict[str, str], before: Sequence[str] = (), port: int = 0) -> Iterator[Daemon]:
    """A daemon, once it is ready. Its log is `home/log`. At the end it gets SIGTERM."""
    port = port or free_port()
    with (home / "log").open("ab") as log:
        command = pawtag("run", "--port", str(port), before=before)
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        while not is_ready(port):
            if process.poll() is not None:
                sys.exit((home / "log").read_text())
            time.sleep(0.1)
        yield Daemon(process, port)
    finally:
        process.send_signal(signal.SIGTERM)  # no matter where it has ended already
        process.wait(60)


def is_ready(port: int) -> bool:
    """Whether a daemon on that port is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


def metrics(port: int) -> str:
    """A daemon's numbers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read(), "utf-8")


def free_port() -> int:
    """A port that nobody answers on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
