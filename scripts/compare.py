"""Compare two checkouts: photos a second, peak memory and time to ready, in interleaved pairs.

    python scripts/compare.py ../before/.venv/bin/python .venv/bin/python ../shared/pets/dev --pairs 9
    python scripts/compare.py .venv/bin/python .venv/bin/python ../shared/pets/dev --features

With --features, the second one has XMP sidecars, a webhook that accepts everything, and an open page: a client that
reads the live feed and loads the thumbnails in view, as the page does. Each run is `pawtag run` on a folder of the
photos. For each figure it prints both means, and the ratio of the second to the first with its 95 % interval
(Student's t of the logarithms).
"""

import argparse
import http.client
import http.server
import json
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Quantiles 0.975 of Student's t, by the number of pairs.
QUANTILES = {9: 2.306, 10: 2.262, 11: 2.228, 12: 2.201, 13: 2.179, 14: 2.160, 15: 2.145, 20: 2.093}
POLL_S = 0.02
CARDS_IN_VIEW, CALM_S = 25, 1.0  # of the page, on a large screen
WARM_UP = 0.1  # the first photos meet a model that has not run yet


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared."""

    python: Path
    cache: Path
    settings: dict[str, str]
    has_features: bool


def main() -> None:
    """Measure the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs=2, type=Path, metavar="PYTHON", help="of the environments to compare")
    parser.add_argument("photos", type=Path, help="a folder of JPEG files")
    parser.add_argument("--pairs", type=int, choices=QUANTILES, default=9)
    parser.add_argument("--model", type=Path, help="a checkpoint folder; by default the embedded model")
    parser.add_argument("--features", action="store_true", help="the second with XMP, a webhook and an open page")
    given = parser.parse_args()
    photos = sorted(given.photos.glob("*.jpg"))
    settings = {"PAWTAG_MODEL__ID": str(given.model.absolute())} if given.model else {}
    with tempfile.TemporaryDirectory() as work:
        sides = [
            Side(python.absolute(), Path(work) / f"cache{number}", settings, given.features and number == 1)
            for number, python in enumerate(given.pythons)
        ]
        for side in sides:
            measure(side, photos[:2])  # embeds the prompts
        pairs = []
        for number in range(given.pairs):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            runs = {place: measure(sides[place], photos) for place in order}
            pairs.append((runs[0], runs[1]))
            print(number, *pairs[-1], flush=True)
    for name in pairs[0][0]:
        print_ratio(name, [(first[name], second[name]) for first, second in pairs])


def measure(side: Side, photos: list[Path]) -> dict[str, float]:
    """Run the daemon until every photo has its sidecar."""
    with tempfile.TemporaryDirectory() as home, open_features(side) as settings:
        folder = Path(home) / "photos"
        folder.mkdir()
        for photo in photos:
            shutil.copy(photo, folder)
        log, started_s = Path(home) / "log", time.monotonic()
        port = find_free_port()
        process = start(side, Path(home), log, port, settings)
        try:
            wait(process, lambda: "ready" in log.read_text())
            ready_s = time.monotonic() - started_s
            if side.has_features:
                threading.Thread(target=read_as_page, args=(port,), daemon=True).start()
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


def find_free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def open_features(side: Side) -> Iterator[dict[str, str]]:
    """The settings of the side. With features, they enable these, and a receiver of the webhook runs."""
    if not side.has_features:
        yield side.settings
        return
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/"
        yield side.settings | {"PAWTAG_SIDECAR__XMP": "true", "PAWTAG_WEBHOOK__URL": url}
        receiver.shutdown()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes every message."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer 204."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def read_as_page(port: int) -> None:
    """Follow the live feed until it ends, and ask for the thumbnails of cards that stay in view."""
    shown: dict[str, float] = {}
    threading.Thread(target=load_thumbnails, args=(port, shown), daemon=True).start()
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/events?after=0")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: ") and (photo := json.loads(line[6:])).get("has_thumbnail"):
                shown[photo["id"]] = time.monotonic()
                while len(shown) > CARDS_IN_VIEW:
                    shown.pop(next(iter(shown)), None)


def load_thumbnails(port: int, shown: dict[str, float]) -> None:
    """Load each thumbnail that stays in view for a while, once."""
    loaded: set[str] = set()
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            since_s = time.monotonic() - CALM_S
            wanted = next((name for name, at_s in [*shown.items()] if at_s < since_s and name not in loaded), None)
            if wanted is None:
                time.sleep(POLL_S)
                continue
            connection.request("GET", f"/photos/{wanted}/thumbnail")
            connection.getresponse().read()
            loaded.add(wanted)


def start(side: Side, home: Path, log: Path, port: int, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the daemon, without the hub, and without the settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAWTAG_", "XDG_", "HF_"))}
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(side.cache), "HF_HUB_OFFLINE": "1", "PAWTAG_LOG__FORMAT": "plain"}
    with log.open("wb") as file:
        command = [str(side.python), "-m", "pawtag", "run", "--port", str(port)]
        return subprocess.Popen(command, cwd=home, env=kept | own | settings, stdout=file, stderr=file)


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
