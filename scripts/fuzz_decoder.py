"""Damages pictures at random and decodes them, for as long as you like: no crash, no hang, no growth.

    .venv/bin/python scripts/fuzz_decoder.py ../shared/pets/formats --seconds 3600

Decoding runs in a child process. It is a finding if the child dies, takes more than five seconds for a picture, or
grows beyond the limit: then the picture is kept in the folder `--findings`, and the exit code is 1.
"""

import argparse
import multiprocessing
import random
import resource
import sys
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from pawtag.domain.errors import PermanentError
from pawtag.images import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=20_000_000, max_pixels=50_000_000)
SHORTER_SIDE = 224
MAX_S = 5.0
MAX_MEMORY_KIB = 1_200_000
MAX_FILE_BYTES = 2_000_000


def main() -> int:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder of pictures")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    given = parser.parse_args()
    seeds = [path.read_bytes() for path in sorted(given.corpus.rglob("*")) if _is_small_file(path)]
    chance, until_s, outcomes, findings = random.Random(given.seed), time.monotonic() + given.seconds, Counter(), 0
    worker = Worker()
    while time.monotonic() < until_s:
        data = damage(chance.choice(seeds), chance)
        outcome = worker.decode(data)
        outcomes[outcome] += 1
        if outcome in ("died", "hung", "grew"):
            findings += 1
            given.findings.mkdir(exist_ok=True)
            (given.findings / f"{outcome}-{findings:04}").write_bytes(data)
            worker.end()
            worker = Worker()
    worker.end()
    print(f"{sum(outcomes.values())} pictures from {len(seeds)}: {dict(outcomes.most_common())}")
    return int(findings > 0)


class Worker:
    """A child that decodes what it is sent."""

    def __init__(self) -> None:
        """Start it."""
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def decode(self, data: bytes) -> str:
        """An error code, `decoded`, or what is a finding."""
        self._ours.send_bytes(data)
        if not self._ours.poll(MAX_S):
            self.end()
            return "hung"
        try:
            return str(self._ours.recv())
        except EOFError:
            return "died"

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def work(connection: Connection) -> None:
    """In the child: decode until the end."""
    connection.send("ready")
    while True:
        data = connection.recv_bytes()
        try:
            decode(data, LIMITS, SHORTER_SIDE)
            outcome = "decoded"
        except PermanentError as error:
            outcome = error.code
        has_grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MAX_MEMORY_KIB
        connection.send("grew" if has_grown else outcome)


def damage(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, a piece removed, doubled or filled with zeros, the end cut."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        start = min(int(chance.expovariate(1 / (len(found) / 8 + 1))), max(0, len(found) - 1))
        size = chance.choice((1, 1, 2, 4, 16, 256))
        kind = chance.randrange(5)
        if kind == 0:
            found[start : start + size] = chance.randbytes(size)
        elif kind == 1:
            del found[start : start + size]
        elif kind == 2:
            found[start:start] = found[start : start + size]
        elif kind == 3:
            found[start : start + size] = bytes(size)
        else:
            found[start : start + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
    return bytes(found[: len(found) if chance.random() < 0.8 else chance.randrange(len(found) + 1)])


def _is_small_file(path: Path) -> bool:
    return path.is_file() and 0 < path.stat().st_size <= MAX_FILE_BYTES and path.suffix != ".csv"


if __name__ == "__main__":
    sys.exit(main())
