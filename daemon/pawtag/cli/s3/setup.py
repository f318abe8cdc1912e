"""pawtag s3 setup: create the queue and the notification of a bucket, or remove them; you can run it again."""

import argparse
import json
import shlex
from functools import partial

from pawtag.app.s3_wiring import S3Wiring
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.s3.address import parse_uri
from pawtag.s3.setup.policy import PhotoLocations, build_daemon_policy
from pawtag.s3.setup.provisioner import Clients, Provisioner
from pawtag.s3.setup.request import SetupRequest
from pawtag.s3.setup.topic import PushTopic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 setup`."""
    parser.add_argument(
        "uri", metavar="s3://BUCKET/PREFIX", help="the uploads to tag; without PREFIX all uploads of the bucket"
    )
    parser.add_argument("--queue", default="", metavar="NAME", help="the queue's name (default: pawtag-BUCKET)")
    parser.add_argument(
        "--via",
        choices=["s3", "eventbridge"],
        default="s3",
        help="the service that sends events to the queue (default: s3)",
    )
    parser.add_argument(
        "--push",
        metavar="URL",
        help="create no queue; instead the store (Ceph) posts events to a daemon: http://HOST:7860/notifications/s3?key=KEY",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the changes")
    parser.add_argument("--remove", action="store_true", help="remove what an earlier setup created")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Set up, and print what to run next."""
    bucket, prefix = parse_uri(arguments.uri)
    queue = arguments.queue or f"pawtag-{bucket}".replace(".", "-")
    if queue.endswith(".fifo"):
        raise ConfigError("S3 notifies no FIFO queue; name a standard one.")
    request = SetupRequest(bucket, prefix, queue, arguments.via, settings.s3.visibility_timeout_s)
    if arguments.push:
        return _push(arguments, settings, request)
    build = S3Wiring(settings, arguments.s3_tuning).build_client
    clients = Clients(build("s3"), build("sqs"), partial(build, "events"))
    provisioner = Provisioner(clients, request, print, dry_run=arguments.dry_run)
    if arguments.remove:
        provisioner.remove()
        return 0
    url, arn = provisioner.create()
    locations = PhotoLocations(bucket, prefix, settings.s3.sidecar_bucket, settings.s3.sidecar_prefix)
    print(f"\nThe minimal IAM policy of the daemon:\n{json.dumps(build_daemon_policy(locations, arn), indent=2)}")
    own = {"QUEUE_URL": url, "BUCKET": bucket, "PREFIX": prefix}
    settings_lines = [f"export PAWTAG_S3__{name}={shlex.quote(value)}" for name, value in own.items() if value]
    commands = [
        "pawtag s3 check",
        "pawtag run",
        f"pawtag s3 scan {shlex.quote(arguments.uri)}     # photos that are there already",
    ]
    print("\n  ".join(["\nNext:", *settings_lines, *commands]))
    return 0


def _push(arguments: argparse.Namespace, settings: Settings, request: SetupRequest) -> int:
    if settings.s3.endpoint_url is None:
        raise ConfigError("AWS sends its events to queues. --push is for other stores: set s3.endpoint_url.")
    build = S3Wiring(settings, arguments.s3_tuning).build_client
    topic = PushTopic(build("s3"), build("sns"), request, print, dry_run=arguments.dry_run)
    if arguments.remove:
        topic.remove()
        return 0
    topic.create(arguments.push)
    print(f"\nNext:\n  PAWTAG_S3__BUCKET={request.bucket} PAWTAG_SERVER__API_KEY=KEY pawtag run")
    return 0
