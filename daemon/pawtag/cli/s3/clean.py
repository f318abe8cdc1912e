"""pawtag clean s3://...: remove the tags and records of pawtag, and nothing else."""

import argparse
from collections import Counter

from pawtag import log
from pawtag.app.s3_wiring import S3Wiring
from pawtag.cli.s3.bucket_job import select_bucket
from pawtag.config import Settings
from pawtag.domain.errors import PawtagError
from pawtag.s3.address import format_uri, parse_uri
from pawtag.s3.cleanup import WrittenObject, find_written_objects, remove_object
from pawtag.s3.client import Client
from pawtag.s3.listing import Listing
from pawtag.s3.objects import Objects


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Remove them, or with `--dry-run` name them, and print how many there are."""
    bucket, prefix = parse_uri(arguments.place)
    settings = select_bucket(settings, (bucket, prefix))
    wiring = S3Wiring(settings, arguments.s3_tuning)
    client, objects = wiring.build_client("s3"), wiring.build_objects()
    sidecars = (settings.s3.sidecar_bucket or bucket, settings.s3.sidecar_prefix + prefix)
    is_within = sidecars[0] == bucket and sidecars[1].startswith(prefix)
    counts: Counter[str] = Counter()
    places = {(bucket, prefix): ""} | ({} if is_within else {sidecars: format_uri(bucket, prefix)})
    for place, photo_prefix in places.items():
        listing = Listing(client, settings.s3, place)
        for written in find_written_objects(listing, objects.object_tags, objects.sidecars, photo_prefix):
            counts[_remove(written, arguments, client, objects)] += 1
    _report(counts, dry_run=arguments.dry_run)
    return 0


def _remove(written: WrittenObject, arguments: argparse.Namespace, client: Client, objects: Objects) -> str:
    """Remove one; returns what to count it as."""
    if written.kind == "unread":
        return "unread"
    if written.has_user_content and not arguments.corrected:
        return "kept"
    if arguments.dry_run:
        print(log.escape_unprintable(f"{written.kind} {written.ref.uri}"))
        return written.kind
    return written.kind if remove_object(written, client, objects.object_tags) else "refused"


def _report(counts: Counter[str], *, dry_run: bool) -> None:
    verb = "to remove" if dry_run else "removed"
    print(f"objects with tags {verb}: {counts['tags']}; records {verb}: {counts['record']}")
    if counts["kept"]:
        print(
            f"objects kept, with corrections or keys of other programs: {counts['kept']} (--corrected removes their tags)"
        )
    if counts["refused"]:
        raise PawtagError(f"The store refuses to remove our tags from {counts['refused']} objects.")
    if counts["unread"]:
        raise PawtagError(f"{counts['unread']} objects could not be read (see above).")
