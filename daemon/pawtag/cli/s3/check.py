"""pawtag s3 check: proves each permission with a real call, and says what is missing."""

import argparse

from pawtag import log
from pawtag.app import s3_wiring
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.s3.address import parse_uri
from pawtag.s3.client import Client
from pawtag.s3.setup import preflight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 check`."""
    parser.add_argument("uri", nargs="?", metavar="s3://BUCKET/PREFIX", help="the bucket (default: s3.bucket)")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Look at the bucket and the queues; 1 where something is wrong."""
    bucket = settings.s3.bucket
    uri = parse_uri(arguments.uri) if arguments.uri else (bucket, settings.s3.prefix) if bucket else None
    if uri is None and not settings.s3.queue_urls:
        raise ConfigError("What is to be checked? Name s3://BUCKET, or set s3.bucket or s3.queue_url.")
    wrong = 0
    s3 = Client("s3", settings.s3, max_connections=2)
    for url in settings.s3.queue_urls:
        print(url)
        sqs = Client("sqs", settings.s3, max_connections=2)
        wrong += sum(_print_result(finding) for finding in preflight.check_queue(sqs, url))
        if uri and (arn := preflight.read_queue_arn(sqs, url)):
            wrong += _print_result(preflight.check_notification(s3, uri, arn))
    if uri:
        print(f"s3://{uri[0]}/{uri[1]}")
        listing = s3_wiring.build_listing(settings, uri, ())
        wrong += sum(_print_result(finding) for finding in preflight.check_bucket(s3, settings.s3, listing))
    return 1 if wrong else 0


def _print_result(finding: preflight.CheckResult) -> bool:
    """Print it; whether it is wrong."""
    mark = {True: "ok   ", False: "WRONG", None: "?    "}[finding.is_right]
    print(log.escape_unprintable(f"  {mark} {finding.what}" + (f": {finding.advice}" if finding.advice else "")))
    return finding.is_right is False
