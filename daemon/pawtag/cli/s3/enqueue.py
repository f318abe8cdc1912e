"""pawtag s3 enqueue: puts an event for each photo that needs it into the queue, for as many daemons as serve it."""

import argparse

from tqdm import tqdm

from pawtag.app import s3_wiring
from pawtag.cli.s3.scan import (
    add_common_arguments,
    announce_resume,
    load_wanted_model,
    select_bucket,
    summarise_skipped,
)
from pawtag.clock import utc_timestamp
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.s3.address import parse_uri
from pawtag.s3.enqueue import Enqueuer
from pawtag.state import ResumePoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 enqueue`."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="what to bring up to date")
    parser.add_argument("--queue-url", metavar="URL", help="the queue (default: the first of s3.queue_url)")
    parser.add_argument(
        "--inventory", metavar="s3://.../manifest.json", help="take the photos from an S3 Inventory, not from a listing"
    )
    parser.add_argument("--all", action="store_true", help="all photos, without looking at their tags")
    add_common_arguments(parser)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send them, ten at a time; goes on where it was killed."""
    uri = parse_uri(arguments.uri)
    url = arguments.queue_url or next(iter(settings.s3.queue_urls), None)
    if url is None:
        raise ConfigError("Which queue? Set s3.queue_url, or name it with --queue-url.")
    settings = select_bucket(settings, uri)
    ours = load_wanted_model(settings).tagger.identity
    pages = s3_wiring.open_pages(settings, uri, arguments.storage_class, arguments.inventory)
    policy = None if arguments.all else FreshnessPolicy(ours, utc_timestamp())
    enqueuer = Enqueuer(
        s3_wiring.build_queue(settings, url), s3_wiring.build_objects(settings), policy, ours.fingerprint
    )
    what = (
        arguments.uri,
        url,
        str(arguments.inventory),
        str(settings.s3.endpoint_url),
        ours.fingerprint,
        str(arguments.all),
    )
    resume_point = ResumePoint(s3_wiring.s3_state_dir(settings), "enqueue", *what, *arguments.storage_class)
    announce_resume(resume_point, anew=arguments.restart)
    with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
        try:
            count = enqueuer.enqueue(pages, resume_point, bar.update)
        finally:
            resume_point.save()
    print(f"{count['sent']} events were sent, {count['current']} photos need nothing")
    if count["unseen"]:
        print(f"{count['unseen']} of the photos sent could not be looked at here: run 'pawtag s3 check'")
    if passed_over := summarise_skipped(count):
        print(passed_over)
    resume_point.forget()
    return 0
