"""Scans a folder of many tagged photos, and prints the time and the memory, compared with a bare walk.

    .venv/bin/python scripts/folder_rescan.py --photos 100000 1000000

The bare walk stats each file and its sidecar. The first scan reads every sidecar, later scans read only changes. The
script makes the photos, and the sidecars that the shipped model would have written. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pawtag.config import load_settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.records import PhotoInfo, SourceInfo, Tag, TaggerIdentity, Tagging
from pawtag.inference.model_loader import load_model
from pawtag.pipeline.recording import build_record

A_FOLDER, WALKS = 1000, 3
KIB = 1024
TAGGING = Tagging(
    tags=(Tag(label="cat", group="species", score=0.98), Tag(label="short-hair", group="coat", score=0.83)),
    scores={
        "species": dict.fromkeys(["cat", "dog", "hamster", "rabbit", "bird", "fish", "turtle", "snake", "none"], 0.1),
        "coat": {"long-hair": 0.1, "medium-hair": 0.07, "short-hair": 0.83},
    },
    photo=PhotoInfo(name=None, bytes=8, sha256="0" * 64, width=640, height=480, format="JPEG"),
    has_pet=True,
)


def main() -> int:
    """Make them, scan, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[100_000])
    given = parser.parse_args()
    for count in given.photos:
        with tempfile.TemporaryDirectory() as home:
            compare(Path(home), count)
    return 0


def compare(home: Path, count: int) -> None:
    """Print the scans of a folder of `count` photos."""
    empty, full, cache = home / "empty", home / "full", home / "cache"
    empty.mkdir()
    fill(full, count, identity())
    walk_s = min(walk(full) for _ in range(WALKS))
    scan(empty, cache)  # compiles the model
    start_s, start_mib, _ = scan(empty, cache)
    print(
        f"{count} photos; a bare walk: {walk_s:.2f} s; the scan of an empty folder: {start_s:.2f} s, {start_mib:.0f} MiB"
    )
    for name in ("first scan", "second scan", "third scan"):
        took_s, resident_mib, said = scan(full, cache)
        ratio = (took_s - start_s) / walk_s
        print(f"  {name}: {took_s:.2f} s, {ratio:.2f} walks without the start, {resident_mib:.0f} MiB at most; {said}")


def walk(folder: Path) -> float:
    """Seconds for a walk that stats each file and its sidecar, and does no more."""
    started_s, folders = time.monotonic(), [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.name.endswith(".json"):
                    entry.stat(follow_symlinks=False)
                    os.stat(entry.path + ".json")  # noqa: PTH116 - as bare as it can be
    return time.monotonic() - started_s


def identity() -> TaggerIdentity:
    """The identity of the shipped model with the shipped labels."""
    return load_model(load_settings(overrides={"model": {"id": "embedded"}}), load_labels(None)).identity


def fill(folder: Path, count: int, ours: TaggerIdentity) -> None:
    """Photos of a few bytes, each with a current sidecar, a thousand a folder."""
    for number in range(count):
        photo = folder / f"{number // A_FOLDER:04}" / f"{number}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"no photo")
        os.utime(photo, (1, 1))
        source = SourceInfo(kind="folder", mtime_ns=1_000_000_000)
        record = build_record(TAGGING, photo.name, ours, source)
        sidecar = photo.with_name(photo.name + ".json")
        sidecar.write_text(json.dumps(record.to_document(), indent=1))
        os.utime(sidecar, (1, 1))


def scan(folder: Path, cache: Path) -> tuple[float, float, str]:
    """Seconds, the largest resident MiB and the last line of `pawtag scan`."""
    started_s = time.monotonic()
    command = [sys.executable, "-m", "pawtag", "scan", str(folder), "--model", "embedded"]
    own = {"PAWTAG_MODEL__CACHE_DIR": str(cache)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | own) as process:
        said = process.stdout.read() if process.stdout else ""
        _, _, usage = os.wait4(process.pid, 0)
    return time.monotonic() - started_s, usage.ru_maxrss / KIB, said.strip()


if __name__ == "__main__":
    sys.exit(main())
