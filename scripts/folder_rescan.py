"""Brings a folder of many tagged photos up to date, and prints what that takes, compared with an empty folder.

    .venv/bin/python scripts/folder_rescan.py --photos 100000

Photos and sidecars are made here: the sidecars are what the model that ships would have written. Linux.
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

A_FOLDER = 1000
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
    parser.add_argument("--photos", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        empty, full = Path(home, "empty"), Path(home, "full")
        empty.mkdir()
        fill(full, given.photos, identity())
        for folder in (empty, full):
            took_s, resident_mib, said = scan(folder)
            print(f"{folder.name}: {took_s:.1f} s, {resident_mib:.0f} MiB at most; {said}")
    return 0


def identity() -> TaggerIdentity:
    """Those of the model that ships, with the labels that ship."""
    return load_model(load_settings(overrides={"model": {"id": "embedded"}}), load_labels(None)).tagger.identity


def fill(folder: Path, count: int, ours: TaggerIdentity) -> None:
    """Photos of a few bytes, each with a current sidecar, a thousand a folder."""
    for number in range(count):
        photo = folder / f"{number // A_FOLDER:04}" / f"{number}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"no photo")
        os.utime(photo, (1, 1))
        source = SourceInfo(kind="folder", mtime_ns=1_000_000_000)
        record = build_record(TAGGING, photo.name, ours, source)
        photo.with_name(photo.name + ".json").write_text(json.dumps(record.to_document(), indent=1))


def scan(folder: Path) -> tuple[float, float, str]:
    """Seconds, the largest resident MiB and the last line of `pawtag scan`."""
    started_s = time.monotonic()
    command = [sys.executable, "-m", "pawtag", "scan", str(folder), "--model", "embedded"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read() if process.stdout else ""
        _, _, usage = os.wait4(process.pid, 0)
    return time.monotonic() - started_s, usage.ru_maxrss / KIB, said.strip()


if __name__ == "__main__":
    sys.exit(main())
