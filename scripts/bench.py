"""Compare pawtag with the plain service that people run today, and with its peers, on the same weights in one run.

    python scripts/bench.py              all of it; about half an hour on two cores
    python scripts/bench.py --short      three minutes: fewer photos, one round, no peers; shows that it runs
    python scripts/bench.py --json out.json

Run it with the Python of pawtag's environment. It makes what it needs in .bench/, once: a checkpoint of random weights,
photos, and environments for the others. Prints a table in Markdown; each value is the median of the rounds, with the
smallest and the largest value.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark import environments
from benchmark.load import measure_requests
from benchmark.processes import Service, run_baseline, run_pawtag

WORK = Path(__file__).parent.parent / ".bench"
HERE = Path(__file__).parent / "benchmark"
PAWTAG, EMBEDDED, BASELINE = "pawtag", "pawtag, embedded model", "plain service"
CALLERS = (1, 4, 16, 64)
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    large_photos: int
    small_photos: int
    requests: int
    backlog_photos: int
    callers: tuple[int, ...]
    with_peers: bool


FULL = Plan(3, 24, 80, 48, 5000, CALLERS, with_peers=True)
SHORT = Plan(1, 6, 16, 8, 40, (1, 4), with_peers=False)
PEERS_LEFT_OUT = [
    "faster-clip 0.4 was left out: its ClipModel takes no checkpoint.",
    "infinity-emb 0.0.78 was left out: it needs numpy below 2 and sentence-transformers below 4.",
    "open_clip_torch was left out: it needs torchvision, which has no build for this torch on every registry.",
]
Results = dict[tuple[str, str], list[float]]


class Benchmark:
    """One run: every system in turn, round after round."""

    def __init__(self, plan: Plan) -> None:
        """Make what is needed."""
        self.plan, self.results, self.notes = plan, defaultdict[tuple[str, str], list[float]](list), list[str]()
        self.checkpoint = str(environments.make_checkpoint(WORK / "vit-b-32"))
        counts = {"12 MP": plan.large_photos, "640x480": plan.small_photos}
        self.folders = {size: environments.make_photos(WORK / "photos", size, count) for size, count in counts.items()}
        self.probe = next(self.folders["640x480"].iterdir()).read_bytes()
        self.baseline = environments.make_environment(
            WORK / "baseline", environments.SERVICE_PACKAGES, with_dependencies=True
        )

    def run(self) -> None:
        """All rounds, then the peers."""
        shutil.rmtree(WORK / "cache", ignore_errors=True)
        for system in (PAWTAG, EMBEDDED):
            _say(f"{system}: first start")
            with self._serve(system) as service:
                self._note(system, "first start to first answer, s", service.first_answer_s)
        for number in range(self.plan.rounds):
            _say(f"round {number + 1} of {self.plan.rounds}")
            for system in (BASELINE, PAWTAG, EMBEDDED):
                self._measure_service(system)
                for size, folder in self.folders.items():
                    self._note(system, f"folder of {size}, photos/s", self._measure_folder(system, folder))
            self._measure_limits()
        for system in (PAWTAG, EMBEDDED):
            self._measure_backlog(system)
        if self.plan.with_peers:
            self._measure_peers()

    def _measure_service(self, system: str) -> None:
        _say(f"{system}: start, memory, requests")
        with self._serve(system) as service:
            self._note(system, "warm start to first answer, s", service.first_answer_s)
            for callers in self.plan.callers:
                seen = measure_requests(
                    service.url, self.probe, callers=callers, requests=max(self.plan.requests, callers)
                )
                self._note(system, f"POST /tag, {callers} callers, requests/s", seen.requests_per_s)
                self._note(system, f"POST /tag, {callers} callers, p50 ms", seen.p50_ms)
                self._note(system, f"POST /tag, {callers} callers, p99 ms", seen.p99_ms)
            self._note(system, "resident memory, MB", service.read_resident_mb())

    @contextmanager
    def _serve(self, system: str, photos: Path | None = None) -> Iterator[Service]:
        if system == BASELINE:
            with run_baseline(self.baseline, self.checkpoint, self.probe) as service:
                yield service
        else:
            model = self.checkpoint if system == PAWTAG else "embedded"
            with run_pawtag(model, WORK / "cache", self.probe, photos=photos) as service:
                yield service

    def _measure_folder(self, system: str, folder: Path) -> float:
        _say(f"{system}: {folder.name}")
        if system == BASELINE:  # in process, without the cost of HTTP
            command = [str(self.baseline), str(HERE / "baseline.py"), self.checkpoint, "--folder", str(folder)]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        with self._serve(system, folder) as service:
            return _measure_rate(service.home / "photos")

    def _measure_backlog(self, system: str) -> None:
        """The latency of single requests while a folder is worked off."""
        _say(f"{system}: requests during a backlog")
        photos = environments.make_photos(WORK / "photos", "640x480", self.plan.backlog_photos)
        with self._serve(system, photos) as service:
            while not any((service.home / "photos").glob("*.json")):
                time.sleep(POLL_S)  # the copies are not finished yet
            seen = measure_requests(service.url, self.probe, callers=1, requests=self.plan.requests, pause_s=0.1)
            if not _list_pending(service.home / "photos"):
                self.notes.append(f"{system}: the backlog was done before the requests were.")
        self._note(system, "POST /tag during a backlog, p50 ms", seen.p50_ms)
        self._note(system, "POST /tag during a backlog, p99 ms", seen.p99_ms)

    def _measure_limits(self) -> None:
        """What two cores can do at most, and the share of it that the folders reached."""
        names = list(self.folders)
        photos = [str(next(folder.iterdir())) for folder in self.folders.values()]
        for system in (PAWTAG, EMBEDDED):
            model = self.checkpoint if system == PAWTAG else "embedded"
            command = [sys.executable, str(HERE / "limits.py"), model, str(WORK / "cache" / "pawtag"), *photos]
            alone = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            self._note(system, "vision tower alone, core-ms", alone["tower_core_ms"])
            for size, decode_ms in zip(names, alone["decode_core_ms"], strict=True):
                limit = alone["cores"] * 1000 / (alone["tower_core_ms"] + decode_ms)
                reached = self.results[system, f"folder of {size}, photos/s"][-1]
                self._note(system, f"decode of {size} alone, core-ms", decode_ms)
                self._note(system, f"folder of {size}, share of the limit", reached / limit)
            if (note := f"{system}: {alone['engine']}, {alone['cores']} threads.") not in self.notes:
                self.notes.append(note)

    def _measure_peers(self) -> None:
        for name, packages in environments.PEER_PACKAGES.items():
            _say(name)
            try:
                python = environments.make_environment(WORK / name, packages, with_dependencies=False)
                for size, folder in self.folders.items():
                    command = [str(python), str(HERE / "peers.py"), name, self.checkpoint, str(folder)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
                    self._note(name, f"folder of {size}, photos/s", float(done.stdout.splitlines()[-1]))
            except (subprocess.SubprocessError, ValueError, IndexError) as error:
                last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
                self.notes.append(f"{name} could not be measured: {last[:200]}")
        self.notes += PEERS_LEFT_OUT

    def _note(self, system: str, name: str, value: float) -> None:
        self.results[system, name].append(value)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="three minutes: shows that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there")
    given = parser.parse_args()
    benchmark = Benchmark(SHORT if given.short else FULL)
    benchmark.run()
    print(format_table(benchmark.results, benchmark.notes))
    if given.json:
        rows = [{"system": key[0], "name": key[1], "values": values} for key, values in benchmark.results.items()]
        document = {"machine": describe_machine(), "notes": benchmark.notes, "results": rows}
        given.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def format_table(results: Results, notes: list[str]) -> str:
    """A row for each measure, a column for each system, and how pawtag compares with the plain service."""
    systems = list(dict.fromkeys(system for system, _ in results))
    names = list(dict.fromkeys(name for _, name in results))
    lines = [f"{describe_machine()}.", "", "| |" + "".join(f" {system} |" for system in systems) + " ratio |"]
    lines.append("|---|" + "---|" * (len(systems) + 1))
    for name in names:
        cells = [_format_values(results.get((system, name))) for system in systems]
        lines.append("| " + " | ".join([name, *cells, _format_ratio(results, name)]) + " |")
    return "\n".join([*lines, "", *notes])


def _format_values(values: list[float] | None) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
    return f"{statistics.median(values):.3g}{spread}"


def _format_ratio(results: Results, name: str) -> str:
    """Pawtag's value divided by the plain service's, with the same weights."""
    if (PAWTAG, name) not in results or (BASELINE, name) not in results:
        return ""
    return f"{statistics.median(results[PAWTAG, name]) / statistics.median(results[BASELINE, name]):.2f}"


def describe_machine() -> str:
    """The processor, its cores and its instruction sets that matter here."""
    info = Path("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.exists() else {}
    values = {name.strip(): value.strip() for name, value in lines.items()}
    known = [each for each in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if each in values.get("flags", "").split()]
    model = values.get("model name", platform.processor() or platform.machine())
    return (
        f"{model}, {int(values.get('processor', 0)) + 1} cores, {' '.join(known)}; Python {platform.python_version()}"
    )


def _measure_rate(folder: Path) -> float:
    """Photos a second, by the times of the sidecars, without the first tenth."""
    while _list_pending(folder):
        time.sleep(POLL_S)
    written_s = sorted(path.stat().st_mtime for path in folder.glob("*.json"))
    first = len(written_s) // 10
    return (len(written_s) - 1 - first) / max(written_s[-1] - written_s[first], POLL_S)


def _list_pending(folder: Path) -> int:
    return len(list(folder.glob("*.jpg"))) - len(list(folder.glob("*.jpg.json")))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
