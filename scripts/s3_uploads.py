"""Does what a new user does with a bucket, and checks the results: set up, run, upload, check, remove.

    python scripts/s3_uploads.py ../shared/pets/dev --endpoint http://127.0.0.1:4566            # by a queue
    python scripts/s3_uploads.py ../shared/pets/dev --endpoint http://127.0.0.1:8000 --push     # Ceph's topics
    python scripts/s3_uploads.py ../shared/pets/dev --endpoint ... --posts-to 7860              # SeaweedFS's filer

Keys have odd names. A fifth of the objects have tags of their own, and a twentieth have nine such tags. `--kills 10`
kills the daemon ten times while it works. `labels.csv` next to the photos (file, species) holds the right answers.
SeaweedFS's filer must post to http://127.0.0.1:PORT/notifications/s3?key=secret. Credentials come from the environment.
"""

import argparse
import contextlib
import csv
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from botocore.exceptions import ClientError

from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from s3_trial import client, daemon, free_port, pawtag, photos_in, surroundings

TIMEOUT_S = 300
ODD = (
    "a b", "a+b", "100%", "%41", "%2B", "grün", "猫", "e\u0301", "😺", "quo'te", 'quo"te', "&=:@,;", "?#", "(1)", "[x]",
    "a/b/c", "UPPER", "plus++ and  spaces",
)  # fmt: skip
NINE = {f"t{number}": "x" for number in range(9)}
KEY = "secret"


@dataclass(frozen=True)
class Upload:
    """An object: its key, the tags that it came with, and what is on the photo, where that is known."""

    key: str
    own: dict[str, str]
    species: str | None


def main() -> int:
    """Do it all, and print how it came out; 0 where nothing is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_in", type=Path, help="a folder of photos")
    parser.add_argument("--endpoint", required=True, help="where the store answers")
    parser.add_argument("--photos", type=int, default=200, help="how many objects")
    parser.add_argument("--kills", type=int, default=0, help="how often the daemon is killed")
    parser.add_argument("--push", action="store_true", help="by a topic that posts, not by a queue")
    parser.add_argument("--posts-to", type=int, metavar="PORT", help="the port to which the store posts already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        return trial(given, Path(home))


def trial(given: argparse.Namespace, home: Path) -> int:
    """Set up, run, upload, check, remove; returns the exit code."""
    s3, bucket, port = client("s3", given.endpoint), f"uploads-{int(time.time())}", given.posts_to or free_port()
    s3.create_bucket(Bucket=bucket)
    setup = ["s3", "setup", f"s3://{bucket}"]
    if given.push:
        setup += ["--push", f"http://127.0.0.1:{port}/notifications/s3?key={KEY}"]
    environment = surroundings(given.endpoint, home, PAWTAG_S3__BUCKET=bucket, PAWTAG_S3__VISIBILITY_TIMEOUT_S="10")
    if given.posts_to is None:
        run(setup, environment)
    if given.push or given.posts_to:
        environment |= {"PAWTAG_SERVER__API_KEY": KEY, "PAWTAG_S3__RESCAN_S": "3600"}
    else:
        sqs = client("sqs", given.endpoint)
        environment["PAWTAG_S3__QUEUE_URL"] = sqs.get_queue_url(QueueName=f"pawtag-{bucket}")["QueueUrl"]
    run(["s3", "check"], environment)
    uploads, took_s = work(given, home, environment, port, (s3, bucket))
    is_well = report(uploads, s3, bucket, home, took_s)
    if "PAWTAG_S3__QUEUE_URL" in environment:
        is_well &= queues_are_empty(sqs, bucket)
    if given.posts_to is None:
        run([*setup, "--remove"], environment)
    return 0 if is_well else 1


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """One command of pawtag's, which is to succeed."""
    done = subprocess.run(pawtag(*arguments), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"pawtag {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def work(
    given: argparse.Namespace, home: Path, environment: dict[str, str], port: int, where: tuple[Any, str]
) -> tuple[list[Upload], float]:
    """Upload while a daemon runs, and kill it `--kills` times. Returns also the seconds since the last upload."""
    uploads: list[Upload] = []
    for _ in range(given.kills):
        with daemon(home, environment, port=port) as running:
            uploads = uploads or upload(*where, given)
            time.sleep(random.uniform(0.3, 1.8))
            running.process.kill()
    with daemon(home, environment, port=port):
        uploads = uploads or upload(*where, given)
        started_s = time.monotonic()
        while time.monotonic() - started_s < TIMEOUT_S and not all(is_done(*where, one) for one in uploads):
            time.sleep(0.5)
        took_s = time.monotonic() - started_s
        time.sleep(3)  # what is done is still to be acknowledged
    return uploads, took_s


def upload(s3: Any, bucket: str, given: argparse.Namespace) -> list[Upload]:
    """Upload `--photos` objects; the files are used repeatedly."""
    uploads, known = [], species_in(given.photos_in)
    for number, file in enumerate(itertools.islice(itertools.cycle(photos_in(given.photos_in)), given.photos)):
        own = NINE if number % 20 == 0 else {"album": "summer 2026", "owner": "me"} if number % 5 == 0 else {}
        key = f"{ODD[number % len(ODD)]} {number}{file.suffix}"
        tagging = {"Tagging": urlencode(own, quote_via=quote)} if own else {}
        s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes(), **tagging)
        uploads.append(Upload(key, own, known.get(file.name)))
    return uploads


def species_in(folder: Path) -> dict[str, str]:
    """What is on which photo."""
    labels = folder / "labels.csv"
    return {row["file"]: row["species"] for row in csv.DictReader(labels.open())} if labels.exists() else {}


def is_done(s3: Any, bucket: str, one: Upload) -> bool:
    """Whether it carries its tags, or has a sidecar object."""
    return species_of(s3, bucket, one) is not None


def species_of(s3: Any, bucket: str, one: Upload) -> str | None:
    """The first species that was found, or `none`; None where nothing was written yet."""
    found = tags_of(s3, bucket, one.key)
    if "pawtag:fingerprint" in found:
        return found.get("pawtag:species", "none").split("/")[0]
    if len(one.own) < len(NINE):
        return None
    try:
        record = json.loads(s3.get_object(Bucket=bucket, Key=f"{one.key}.json")["Body"].read())
    except ClientError:
        return None
    return next((tag["label"] for tag in record["tags"] if tag["group"] == "species"), "none")


def tags_of(s3: Any, bucket: str, key: str) -> dict[str, str]:
    """All tags of an object."""
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key).get("TagSet") or []}


def report(uploads: list[Upload], s3: Any, bucket: str, home: Path, took_s: float) -> bool:
    """Print how it came out; whether nothing is lost."""
    found = [species_of(s3, bucket, one) for one in uploads]
    done = sum(one is not None for one in found)
    kept = sum(tags_of(s3, bucket, one.key).items() >= one.own.items() for one in uploads)
    right = sum(one.species == species for one, species in zip(uploads, found, strict=True) if one.species)
    known = sum(one.species is not None for one in uploads)
    records = (home / "log").read_text().count(f"s3://{bucket}/")
    with contextlib.closing(StateDatabase(home)) as database:
        dead = list(DeadLetters(database).list_letters())
    print(f"{done} of {len(uploads)} done {took_s:.1f} s after the last upload, {right} of {known} right")
    print(f"own tags kept on {kept}; {records} lines of the log name a photo; {len(dead)} local dead letters")
    return done == kept == len(uploads) and not dead


def queues_are_empty(sqs: Any, bucket: str) -> bool:
    """Print how many messages are in the queue and its dead-letter queue; returns whether both are empty."""
    left = []
    for name in (f"pawtag-{bucket}", f"pawtag-{bucket}-dead"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        left.append(sum(int(found[part]) for part in found if part.startswith("ApproximateNumberOfMessages")))
    print(f"{left[0]} messages and {left[1]} dead letters left")
    return left == [0, 0]


if __name__ == "__main__":
    sys.exit(main())
