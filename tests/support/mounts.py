"""Mounts for tests: tmpfs in a mount namespace of its own, and FUSE file systems with one oddity each."""

import asyncio
import ctypes.util
import os
import shutil
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.paths import ROOT

ODD = Path(__file__).with_name("odd_file_system.py")
FETCHED = next((ROOT / ".venv/fuse").rglob("libfuse.so.2"), None)  # by scripts/fuse.sh
MOUNT_TIMEOUT_S = 10


@cache
def can_mount() -> bool:
    """Whether this user may make a mount namespace."""
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def can_mount_fuse() -> bool:
    """Whether FUSE can be used; see scripts/fuse.sh."""
    has_library = bool(FETCHED or ctypes.util.find_library("fuse"))
    return has_library and find_spec("mfusepy") is not None and os.access("/dev/fuse", os.W_OK) and can_mount()


requires_mounts = pytest.mark.skipif(not can_mount(), reason="this user may not mount file systems")
requires_fuse = pytest.mark.skipif(not can_mount_fuse(), reason="no FUSE here: run scripts/fuse.sh as root")


@dataclass(frozen=True)
class PrivateMounts:
    """A mount namespace that only its own processes see."""

    pid: int

    @property
    def enter(self) -> list[str]:
        """The command that runs another command in the namespace."""
        return ["nsenter", f"--target={self.pid}", "--mount", f"--wd={Path.cwd()}", "--"]

    def see(self, path: Path) -> Path:
        """The path as it is in there."""
        return Path(f"/proc/{self.pid}/root{path}")

    def mount_tmpfs(self, point: Path, size: str = "8m") -> None:
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}", f"tmpfs-{point.name}", str(point))

    def unmount(self, point: Path) -> None:
        self._run("umount", "--lazy", str(point))

    def _run(self, *command: str) -> None:
        subprocess.run([*self.enter, *command], check=True, timeout=MOUNT_TIMEOUT_S)


@contextmanager
def private_mounts():
    """The namespace, while the context lasts."""
    sleeper = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "600"])
    try:
        deadline = time.monotonic() + MOUNT_TIMEOUT_S
        while Path(f"/proc/{sleeper.pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield PrivateMounts(sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()


@asynccontextmanager
async def file_system(backing: Path, point: Path, *oddities: str):
    """A FUSE file system that shows `backing` at `point`."""
    library = {"FUSE_LIBRARY_PATH": str(FETCHED)} if FETCHED else {}
    serving = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, ODD, backing, point, *oddities], env=os.environ | library
    )
    try:
        async with asyncio.timeout(MOUNT_TIMEOUT_S):
            while not os.path.ismount(point):
                assert serving.poll() is None
                await asyncio.sleep(0.02)
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=False, timeout=MOUNT_TIMEOUT_S)
        serving.terminate()
        serving.wait(MOUNT_TIMEOUT_S)
