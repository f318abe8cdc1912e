"""pawtag s3 setup: makes a bucket's queue and notification, or takes them back; can be run again."""

import argparse
import json
import shlex
from functools import partial

from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.s3.address import parse_uri
from pawtag.s3.client import Client
from pawtag.s3.setup.policy import PhotoLocations, daemon_policy
from pawtag.s3.setup.provisioner import Clients, Provisioner, SetupRequest
from pawtag.s3.setup.topic import PushTopic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 setup`."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="whose uploads are to be tagged")
    parser.add_argument("--queue", default="", metavar="NAME", help="the queue's name (default: pawtag-BUCKET)")
    parser.add_argument("--via", choices=["s3", "eventbridge"], default="s3", help="who tells the queue (default: s3)")
    parser.add_argument(
        "--push",
        metavar="URL",
        help="no queue: have the store (Ceph) post to this daemon, http://HOST:7860/notifications/s3?key=KEY",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--remove", action="store_true", help="take back what was made")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do it, and print what to run next."""
    bucket, prefix = parse_uri(arguments.uri)
    queue = arguments.queue or f"pawtag-{bucket}".replace(".", "-")
    if queue.endswith(".fifo"):
        raise ConfigError("S3 tells no FIFO queue; name a standard one.")
    request = SetupRequest(bucket, prefix, queue, arguments.via, settings.s3.visibility_timeout_s)
    if arguments.push:
        return _push(arguments, settings, request)
    make = partial(Client, settings=settings.s3, max_connections=2)
    clients = Clients(make("s3"), make("sqs"), partial(make, "events"))
    provisioner = Provisioner(clients, request, print, dry_run=arguments.dry_run)
    if arguments.remove:
        provisioner.remove()
        return 0
    url, arn = provisioner.make()
    places = PhotoLocations(bucket, prefix, settings.s3.sidecar_bucket, settings.s3.sidecar_prefix)
    print(f"\nThe least that pawtag needs, as an IAM policy:\n{json.dumps(daemon_policy(places, arn), indent=2)}")
    own = {"QUEUE_URL": url, "BUCKET": bucket, "PREFIX": prefix}
    settings_lines = [f"export PAWTAG_S3__{name}={shlex.quote(value)}" for name, value in own.items() if value]
    commands = [
        "pawtag s3 check",
        "pawtag run",
        f"pawtag s3 scan {shlex.quote(arguments.uri)}     # what is there already",
    ]
    print("\n  ".join(["\nNext:", *settings_lines, *commands]))
    return 0


def _push(arguments: argparse.Namespace, settings: Settings, request: SetupRequest) -> int:
    if settings.s3.endpoint_url is None:
        raise ConfigError("AWS pushes to queues; --push is for a store of your own: set s3.endpoint_url.")
    s3, sns = (Client(name, settings.s3, max_connections=2) for name in ("s3", "sns"))
    topic = PushTopic(s3, sns, request, print, dry_run=arguments.dry_run)
    if arguments.remove:
        topic.remove()
        return 0
    topic.make(arguments.push)
    print(f"\nNext:\n  PAWTAG_S3__BUCKET={request.bucket} PAWTAG_SERVER__API_KEY=KEY pawtag run")
    return 0
