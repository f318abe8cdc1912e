"""Measures requests and memory of a scan that is killed on its way, in a large bucket with few stale photos.

    python scripts/s3_scan.py --endpoint http://127.0.0.1:4566 --objects 20000 --stale 300 --kill-after 25 30

Uploads the same small photo many times; most copies have pawtag's tags already. Then runs `pawtag s3 scan` behind the
tests' proxy, which counts requests, and kills each run with SIGKILL after the given seconds. Linux only (it reads
/proc). Credentials come from the environment.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from PIL import Image

from s3_trial import client, pawtag, surroundings

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.fault_proxy import Asked, FaultProxy

SAMPLE_S = 0.5
WARM_S = 10.0
MIB = 1024


def main() -> None:
    """Upload, scan, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="where the store answers")
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--stale", type=int, default=300, help="how many of them carry no tags")
    parser.add_argument("--kill-after", type=float, nargs="*", default=[25.0, 30.0], metavar="S")
    given = parser.parse_args()
    s3, bucket = client("s3", given.endpoint), f"scan-{int(time.time())}"
    s3.create_bucket(Bucket=bucket)
    with tempfile.TemporaryDirectory() as home, FaultProxy(given.endpoint) as proxy:
        tags = tags_of_one(s3, bucket, given.endpoint, Path(home))
        upload(s3, bucket, given.objects, given.stale, tags)
        environment = surroundings(proxy.address, Path(home))
        for kill_after_s in [*given.kill_after, None]:
            began, started_s = len(proxy.asked), time.monotonic()
            said, resident_mib = scan(bucket, environment, kill_after_s)
            took_s = time.monotonic() - started_s
            print(f"{took_s:.0f} s, {spread(resident_mib)}, {kinds(proxy.asked[began:])}\n  {said}", flush=True)
        print(f"all in all: {kinds(proxy.asked)}")
        print(f"{untagged(s3, bucket)} objects without tags are left")


def photo() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 120, 40)).save(file, "PNG")
    return file.getvalue()


def tags_of_one(s3: Any, bucket: str, endpoint: str, home: Path) -> str:
    """The tags that pawtag gives the photo, as an upload's header. They fit any key with this content."""
    s3.put_object(Bucket=bucket, Key="0.png", Body=photo())
    subprocess.run(pawtag("s3", "scan", f"s3://{bucket}"), env=surroundings(endpoint, home), check=True)
    found = s3.get_object_tagging(Bucket=bucket, Key="0.png")["TagSet"]
    return urlencode({tag["Key"]: tag["Value"] for tag in found}, quote_via=quote)


def upload(s3: Any, bucket: str, count: int, stale: int, tags: str) -> None:
    """Upload `count` objects; the stale ones are evenly spread among them."""
    every, data = max(1, count // max(1, stale)), photo()

    def put(number: int) -> None:
        is_stale = number % every == 1 and number // every < stale
        tagging = {} if is_stale else {"Tagging": tags}
        s3.put_object(Bucket=bucket, Key=f"{number:08}.png", Body=data, **tagging)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(1, count)))


def scan(bucket: str, environment: dict[str, str], kill_after_s: float | None) -> tuple[str, list[float]]:
    """Run the command, and kill it after `kill_after_s`; returns its output, and its resident memory over time."""
    command = pawtag("s3", "scan", f"s3://{bucket}")
    process = subprocess.Popen(command, env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True)
    started_s, resident_mib = time.monotonic(), []
    while process.poll() is None:
        if time.monotonic() - started_s > WARM_S:
            resident_mib.append(resident(process.pid))
        if kill_after_s is not None and time.monotonic() - started_s > kill_after_s:
            process.kill()
        time.sleep(SAMPLE_S)
    said = process.stdout.read() if process.stdout else ""
    return " | ".join(said.split("\n")[:3]), resident_mib


def resident(pid: int) -> float:
    """Resident memory in MiB; 0 where the process has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB**2


def spread(resident_mib: list[float]) -> str:
    """The least and the most, for people."""
    seen = [one for one in resident_mib if one]
    return f"{min(seen):.0f} to {max(seen):.0f} MiB" if seen else "too short to tell its memory"


def kinds(asked: list[Asked]) -> str:
    """How many requests of which kind."""
    count = Counter(
        f"{one.method} {'tags' if one.tagging else 'listing' if 'list-type' in one.query else 'object'}"
        for one in asked
    )
    return ", ".join(f"{number} {kind}" for kind, number in sorted(count.items()))


def untagged(s3: Any, bucket: str) -> int:
    """How many objects carry no tags of ours."""

    def is_bare(key: str) -> bool:
        return not s3.get_object_tagging(Bucket=bucket, Key=key).get("TagSet")

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    with ThreadPoolExecutor(8) as threads:
        return sum(threads.map(is_bare, keys))


if __name__ == "__main__":
    main()
