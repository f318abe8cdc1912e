"""Compare two checkouts: photos a second, peak memory and time to ready, in interleaved pairs.

    python scripts/compare.py ../before/.venv/bin/python .venv/bin/python ../shared/pets/dev --pairs 9

Each run is `pawtag run` with the embedded model on a folder of the photos. Prints, for each figure, the mean of both and
the ratio of the second to the first, with its 95 % interval (Student's t of the logarithms).
"""

import argparse
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Quantiles 0.975 of Student's t, by the number of pairs.
QUANTILES = {9: 2.306, 10: 2.262, 11: 2.228, 12: 2.201, 13: 2.179, 14: 2.160, 15: 2.145, 20: 2.093}
POLL_S = 0.02
WARM_UP = 0.1  # the first photos meet a model that has not run yet


def main() -> None:
    """Measure the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs=2, type=Path, metavar="PYTHON", help="of the environments to compare")
    parser.add_argument("photos", type=Path, help="a folder of JPEG files")
    parser.add_argument("--pairs", type=int, choices=QUANTILES, default=9)
    given = parser.parse_args()
    photos = sorted(given.photos.glob("*.jpg"))
    with tempfile.TemporaryDirectory() as work:
        caches = [Path(work) / f"cache{number}" for number in (0, 1)]
        for python, cache in zip(given.pythons, caches, strict=True):
            measure(python.absolute(), cache, photos[:2])  # embeds the prompts
        pairs = []
        for number in range(given.pairs):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            runs = {side: measure(given.pythons[side].absolute(), caches[side], photos) for side in order}
            pairs.append((runs[0], runs[1]))
            print(number, *pairs[-1], flush=True)
    for name in pairs[0][0]:
        print_ratio(name, [(first[name], second[name]) for first, second in pairs])


def measure(python: Path, cache: Path, photos: list[Path]) -> dict[str, float]:
    """Run the daemon until every photo has its sidecar."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "photos"
        folder.mkdir()
        for photo in photos:
            shutil.copy(photo, folder)
        log, started_s = Path(home) / "log", time.monotonic()
        process = start(python, Path(home), cache, log)
        try:
            wait(process, lambda: "ready" in log.read_text())
            ready_s = time.monotonic() - started_s
            wait(process, lambda: len(list(folder.glob("*.json"))) == len(photos))
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        written = sorted(path.stat().st_mtime for path in folder.glob("*.json"))
    first = int(WARM_UP * len(written))
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    photos_per_s = (len(written) - 1 - first) / max(written[-1] - written[first], POLL_S)
    return {"photos_per_s": photos_per_s, "peak_mib": peak_kib / 1024, "ready_s": ready_s}


def start(python: Path, home: Path, cache: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the daemon on a free port, without the hub, and without the settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAWTAG_", "XDG_", "HF_"))}
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PAWTAG_LOG__FORMAT": "plain"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as file:
        command = [str(python), "-m", "pawtag", "run", "--port", str(port)]
        return subprocess.Popen(command, cwd=home, env=kept | own, stdout=file, stderr=file)


def wait(process: subprocess.Popen[bytes], is_done: Callable[[], bool]) -> None:
    """Poll until `is_done`. Raises RuntimeError where the daemon ends."""
    while not is_done():
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended with exit code {process.returncode}")
        time.sleep(POLL_S)


def print_ratio(name: str, values: list[tuple[float, float]]) -> None:
    """Print both means and the ratio with its interval."""
    logs = [math.log(second / first) for first, second in values]
    mean, half = statistics.mean(logs), QUANTILES[len(logs)] * statistics.stdev(logs) / math.sqrt(len(logs))
    first, second = (statistics.mean(side) for side in zip(*values, strict=True))
    low, ratio, high = (math.exp(mean + part) for part in (-half, 0, half))
    print(f"{name}: {first:.2f} and {second:.2f}, ratio {ratio:.3f} (95 %: {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
