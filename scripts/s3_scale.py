"""Measures how the speed on one queue grows with the number of daemons: 1, 2 and 4, each with one model thread.

    python scripts/s3_scale.py ../shared/pets/dev --endpoint http://127.0.0.1:4566 --photos 400

Against a store that speaks S3 and SQS at one address (ministack, moto), with any credentials in the environment.
A daemon decodes and computes in two threads, so it uses more than one core. `--pin` gives each daemon one core, as if
it had its own machine. For each number of daemons it prints the photos a second, the time compared with the first
number, the share of needless model calls, and the share of the photos' time that waits for S3. The photos are uploaded
first. The time runs from the first message in the queue to the last tagged photo, according to the daemons' metrics.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3_trial import client, daemon, metrics, photos_in, surroundings

TIMEOUT_S = 600
STAGE = re.compile(r'pawtag_stage_duration_seconds_sum\{stage="(\w+)"\} (\S+)')
TAGGED = re.compile(r'pawtag_photos_total\{source="s3",status="[\w-]+"\} (\S+)')


@dataclass(frozen=True)
class Store:
    """A bucket, its queue, and clients of both."""

    s3: Any
    sqs: Any
    endpoint: str
    bucket: str
    queue_url: str


def main() -> None:
    """Measure, and print a line for each number of daemons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_in", type=Path, help="a folder of photos")
    parser.add_argument("--endpoint", required=True, help="where the store answers")
    parser.add_argument("--photos", type=int, default=400, help="how many objects")
    parser.add_argument("--daemons", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pin", action="store_true", help="each daemon on one core, one after the other (Linux)")
    given = parser.parse_args()
    files = photos_in(given.photos_in)
    alone_s = None
    for number in given.daemons:
        store = fresh(given.endpoint, f"scale-{number}-{int(time.time())}")
        keys = upload(store, files, given.photos)
        took_s, calls, s3_part = measure(store, keys, number, pin=given.pin)
        alone_s = alone_s or took_s
        needless = 100 * (calls - len(keys)) / len(keys)
        print(
            f"{number} daemons: {len(keys) / took_s:.1f} photos a second, {took_s / alone_s:.2f} of the first's time, "
            f"{needless:.1f} % needless, {100 * s3_part:.0f} % of the photos' time waits for S3",
            flush=True,
        )


def fresh(endpoint: str, bucket: str) -> Store:
    """A new bucket, and a new queue that gets no notifications."""
    s3, sqs = client("s3", endpoint), client("sqs", endpoint)
    s3.create_bucket(Bucket=bucket)
    return Store(s3, sqs, endpoint, bucket, sqs.create_queue(QueueName=bucket)["QueueUrl"])


def upload(store: Store, files: list[Path], count: int) -> list[str]:
    """So many photos, the files over and over; their keys."""
    keys = []
    for number, file in enumerate(itertools.islice(itertools.cycle(files), count)):
        keys.append(f"{number:06}-{file.name}")
        store.s3.put_object(Bucket=store.bucket, Key=keys[-1], Body=file.read_bytes())
    return keys


def measure(store: Store, keys: list[str], number: int, *, pin: bool) -> tuple[float, int, float]:
    """Seconds that the daemons take, records that they made, and the part of the photos' time that waits for S3."""
    with ExitStack() as stack:
        ports = [stack.enter_context(worker(store, core if pin else None)) for core in range(number)]
        started_s = time.monotonic()
        for start in range(0, len(keys), 10):
            bodies = [message(store.bucket, key) for key in keys[start : start + 10]]
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)]
            store.sqs.send_message_batch(QueueUrl=store.queue_url, Entries=entries)
        while sum(tagged(port) for port in ports) < len(keys):
            if time.monotonic() - started_s > TIMEOUT_S:
                sys.exit("The daemons do not come to an end.")
            time.sleep(0.1)
        took_s = time.monotonic() - started_s
        time.sleep(2)  # a photo that is tagged twice shows now
        stages = [dict(STAGE.findall(metrics(port))) for port in ports]
        in_s3 = sum(float(one.get(name, 0)) for one in stages for name in ("look", "read", "write"))
        return took_s, sum(tagged(port) for port in ports), in_s3 / sum(float(one["photo"]) for one in stages)


def message(bucket: str, key: str) -> str:
    """A notification of an upload, as S3 sends it."""
    found = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": found}]})


def tagged(port: int) -> int:
    """How many records a daemon has made."""
    return int(sum(float(count) for count in TAGGED.findall(metrics(port))))


@contextmanager
def worker(store: Store, core: int | None) -> Iterator[int]:
    """A daemon with one model thread, only on `core` if it is given; yields its port."""
    home = Path(tempfile.mkdtemp(prefix="pawtag-scale-"))
    own = {"PAWTAG_S3__QUEUE_URL": store.queue_url, "PAWTAG_LIMITS__THREADS": "1"}
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core % (os.cpu_count() or 1))]
    try:
        with daemon(home, surroundings(store.endpoint, home, **own), pinned) as running:
            yield running.port
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
