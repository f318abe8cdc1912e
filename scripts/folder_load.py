"""Copies many small photos at once into a watched folder, and prints rate and memory of the daemon.

    .venv/bin/python scripts/folder_load.py --photos 2000

Starts a daemon of its own in a temporary folder. Prints photos per second, and its memory, threads and open files
while it tags the photos; these must not grow. Linux only (it reads /proc).
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SAMPLE_S = 1.0
TIMEOUT_S = 3600
MIB = 1024


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment: seconds since the drop, records written, resident MiB, threads, open files."""

    at_s: float
    records: int
    resident_mib: float
    threads: int
    files: int


def main() -> int:
    """Run the flood and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        samples = flood(Path(home), given.photos)
    show(samples, given.photos)
    return 0 if samples[-1].records == given.photos else 1


def flood(home: Path, count: int) -> list[Sample]:
    """Samples from the drop to the last record."""
    photos = home / "photos"
    photos.mkdir()
    log = (home / "log").open("wb")
    command = [sys.executable, "-m", "pawtag", "run", "--watch", str(photos), "--port", "0"]
    with subprocess.Popen(command, cwd=home, stdout=log, stderr=log) as daemon:
        try:
            wait_until_ready(home / "log", daemon)
            return watch(photos, count, daemon.pid)
        finally:
            daemon.terminate()
            log.close()


def wait_until_ready(log: Path, daemon: subprocess.Popen) -> None:
    """Until the daemon says so."""
    while "ready" not in log.read_text():
        if daemon.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.1)


def watch(photos: Path, count: int, pid: int) -> list[Sample]:
    """Drop the photos, then look once a second until each has its record."""
    started, samples = time.monotonic(), []
    for number in range(count):
        (photos / f"{number}.jpg").write_bytes(small_photo(number))
    print(f"{count} photos dropped in {time.monotonic() - started:.1f} s", flush=True)
    while not samples or samples[-1].records < count:
        records = sum(path.suffix == ".json" for path in photos.iterdir())
        samples.append(Sample(time.monotonic() - started, records, *process_facts(pid)))
        if samples[-1].at_s > TIMEOUT_S:
            break
        time.sleep(SAMPLE_S)
    return samples


def small_photo(number: int) -> bytes:
    """A JPEG of 320 x 240, each of another colour."""
    file = io.BytesIO()
    Image.new("RGB", (320, 240), (number % 256, number // 256 % 256, 128)).save(file, "JPEG")
    return file.getvalue()


def process_facts(pid: int) -> tuple[float, int, int]:
    """Resident MiB, threads and open files of a process."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    return int(status["VmRSS"].split()[0]) / MIB, int(status["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def show(samples: list[Sample], count: int) -> None:
    """A few rows, from the first to the last."""
    print("   s  records  resident MiB  threads  open files")
    for sample in [*samples[:: max(1, len(samples) // 12)], samples[-1]]:
        print(
            f"{sample.at_s:4.0f}  {sample.records:7}  {sample.resident_mib:12.0f}  {sample.threads:7}  {sample.files:10}"
        )
    last = samples[-1]
    print(f"{last.records} of {count} photos in {last.at_s:.0f} s, {last.records / last.at_s:.1f} a second")


if __name__ == "__main__":
    sys.exit(main())
