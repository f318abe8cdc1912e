"""pawtag s3 check: test each permission with a real call, and name those that are missing."""

import argparse

from pawtag import log
from pawtag.app.s3_wiring import S3Wiring
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.s3.address import parse_uri
from pawtag.s3.setup import preflight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 check`."""
    parser.add_argument("uri", nargs="?", metavar="s3://BUCKET/PREFIX", help="the bucket (default: s3.bucket)")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Check the bucket and the queues; exit code 1 if something is wrong."""
    bucket = settings.s3.bucket
    uri = parse_uri(arguments.uri) if arguments.uri else (bucket, settings.s3.prefix) if bucket else None
    if uri is None and not settings.s3.queue_urls:
        raise ConfigError("There is nothing to check: name s3://BUCKET, or set s3.bucket or s3.queue_url.")
    wiring, wrong = S3Wiring(settings, arguments.s3_tuning), 0
    s3 = wiring.build_client("s3")
    for url in settings.s3.queue_urls:
        print(url)
        sqs = wiring.build_client("sqs")
        wrong += sum(_print_result(result) for result in preflight.check_queue(sqs, url))
        if uri and (arn := preflight.read_queue_arn(sqs, url)):
            wrong += _print_result(preflight.check_notification(s3, uri, arn))
    if uri:
        print(f"s3://{uri[0]}/{uri[1]}")
        results = preflight.check_bucket(s3, settings.s3, wiring.build_listing(uri, ()))
        wrong += sum(_print_result(result) for result in results)
    return 1 if wrong else 0


def _print_result(result: preflight.CheckResult) -> bool:
    """Print it; returns whether it is wrong."""
    mark = {True: "ok   ", False: "WRONG", None: "?    "}[result.is_right]
    print(log.escape_unprintable(f"  {mark} {result.what}" + (f": {result.advice}" if result.advice else "")))
    return result.is_right is False
