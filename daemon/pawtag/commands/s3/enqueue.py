"""pawtag s3 enqueue: puts an event for each photo that needs it into the queue, for as many daemons as serve it."""

import argparse

from tqdm import tqdm

from pawtag import buckets, labels, loading
from pawtag.commands.s3.scan import narrowed, told
from pawtag.config import Settings
from pawtag.errors import ConfigError
from pawtag.records import now
from pawtag.s3.address import parsed
from pawtag.s3.enqueue import Teller
from pawtag.s3.listing import Checkpoint
from pawtag.stamps import Judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 enqueue`."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="what to bring up to date")
    parser.add_argument("--queue-url", metavar="URL", help="the queue (default: the first of s3.queue_url)")
    parser.add_argument(
        "--inventory", metavar="s3://.../manifest.json", help="take the photos from an S3 Inventory, not from a listing"
    )
    parser.add_argument("--all", action="store_true", help="all photos, without looking at their tags")
    parser.add_argument(
        "--storage-class", action="append", default=[], metavar="CLASS", help="also photos of this colder class"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send them, ten at a time; goes on where it was killed."""
    uri = parsed(arguments.uri)
    url = arguments.queue_url or next(iter(settings.s3.queue_urls), None)
    if url is None:
        raise ConfigError("Which queue? Set s3.queue_url, or name it with --queue-url.")
    settings = narrowed(settings, uri)
    ours = loading.load(settings, labels.load(settings.labels.file)).tagger.fingerprints
    if ours.model.fallback:
        wanted = f"The model {ours.model.wanted} is not on this machine, so nobody knows whose records are wanted"
        raise ConfigError(f"{wanted}: run 'pawtag model pull' first, or say --model embedded.")
    pages = buckets.pages_of(settings, uri, arguments.storage_class, arguments.inventory)
    judge = None if arguments.all else Judge(ours, now())
    teller = Teller(buckets.mailbox_of(settings, url), buckets.objects_of(settings), judge, ours.by)
    what = (arguments.uri, url, str(arguments.inventory), str(settings.s3.endpoint_url), ours.by, str(arguments.all))
    checkpoint = Checkpoint(buckets.state_of(settings), "enqueue", *what, *arguments.storage_class)
    if checkpoint.position:
        print(f"going on behind {checkpoint.position!r}")
    with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
        try:
            count = teller.tell(pages, checkpoint, lambda looked_at, _: bar.update(looked_at))
        finally:
            checkpoint.save()
    print(f"{count['sent']} events were sent, {count['current']} photos need nothing")
    if count["unseen"]:
        print(f"{count['unseen']} of the photos sent could not be looked at here: run 'pawtag s3 check'")
    if passed_over := told(count):
        print(passed_over)
    checkpoint.forget()
    return 0
