"""What is mounted where. Only Linux reports this; on other systems the list is empty."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Other machines may write to these. They send no file events, and processes cannot share memory on them.
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse", "9p", "virtiofs", "afs", "ceph", "glusterfs", "vboxsf", "drvfs")
POINT_FIELD = 4
OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo; see proc_pid_mountinfo(5)."""

    point: str
    root: str
    kind: str
    source: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may write to it."""
        return self.kind.startswith(NETWORK_FILE_SYSTEMS)


def find_mount(path: Path) -> Mount | None:
    """The mount that holds `path` (the path need not exist); None if it is unknown."""
    place = os.path.realpath(path)
    holding = [mount for mount in _read_mounts() if _is_below(place, mount.point)]
    return max(reversed(holding), key=lambda mount: len(mount.point), default=None)  # the last one covers the others


def list_mounts_below(folder: Path) -> tuple[Mount, ...]:
    """The mounts below `folder`, without the one of `folder` itself, sorted by mount point.

    If several mounts have the same mount point, the last one counts.
    """
    place = os.path.realpath(folder)
    found = {mount.point: mount for mount in _read_mounts() if mount.point != place and _is_below(mount.point, place)}
    return tuple(found[point] for point in sorted(found))


def is_on_network(path: Path) -> bool:
    """Whether other machines may write to the file system of `path`."""
    mount = find_mount(path)
    return mount is not None and mount.is_network


def _read_mounts() -> Iterator[Mount]:
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if len(fields) > POINT_FIELD and len(more) > 1:
            yield Mount(_unescape(fields[POINT_FIELD]), _unescape(fields[POINT_FIELD - 1]), more[0], _unescape(more[1]))


def _is_below(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _unescape(text: str) -> str:
    return OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
