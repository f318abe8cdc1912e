"""pawtag s3 enqueue: send a message to the queue for each photo that needs a record; daemons then tag these photos."""

import argparse
from contextlib import closing

from tqdm import tqdm

from pawtag.app.s3_wiring import S3Wiring
from pawtag.cli.s3.bucket_job import (
    add_job_arguments,
    announce_resume,
    load_wanted_model,
    select_bucket,
    summarise_skipped,
)
from pawtag.clock import utc_timestamp
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.s3.address import parse_uri
from pawtag.s3.enqueue import Enqueuer
from pawtag.state.database import StateDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 enqueue`."""
    add_job_arguments(parser)
    parser.add_argument("--queue-url", metavar="URL", help="the queue (default: the first of s3.queue_url)")
    parser.add_argument(
        "--inventory", metavar="s3://.../manifest.json", help="read an S3 Inventory instead of listing the bucket"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="send a message for every photo, and do not read its tags first; cheaper for a new bucket",
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send the messages, ten at a time; resume where an earlier run ended."""
    uri = parse_uri(arguments.uri)
    url = arguments.queue_url or next(iter(settings.s3.queue_urls), None)
    if url is None:
        raise ConfigError("No queue is set: set s3.queue_url, or name it with --queue-url.")
    settings = select_bucket(settings, uri)
    identity, labels = load_wanted_model(settings).identity, load_labels(settings.labels.file)
    with closing(StateDatabase(settings.state.dir)) as database:
        wiring = S3Wiring(settings, arguments.s3_tuning)
        pages = wiring.open_pages(uri, arguments.storage_class, arguments.inventory)
        policy = None if arguments.all else FreshnessPolicy(identity, labels, utc_timestamp())
        enqueuer = Enqueuer(wiring.build_queue(url, database), wiring.build_objects(), policy, identity.fingerprint)
        place = (arguments.uri, url, str(arguments.inventory), str(settings.s3.endpoint_url))
        job = (*place, identity.fingerprint, str(arguments.all), *arguments.storage_class)
        resume_point = wiring.build_resume_point(database, "enqueue", *job)
        announce_resume(resume_point, restart=arguments.restart)
        with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
            try:
                counts = enqueuer.enqueue(pages, resume_point, bar.update)
            finally:
                resume_point.save()
        print(f"{counts['sent']} messages were sent, {counts['current']} photos are current")
        if counts["unchecked"]:
            print(f"{counts['unchecked']} of these could not be checked from this machine: run 'pawtag s3 check'")
        if skipped := summarise_skipped(counts):
            print(skipped)
        resume_point.forget()
        return 0
