"""pawtag clean s3://...: takes back our tags and records, and nothing else."""

import argparse
from collections import Counter

from pawtag import log
from pawtag.app import s3_wiring
from pawtag.cli.s3.scan import select_bucket
from pawtag.config import Settings
from pawtag.domain.errors import PawtagError
from pawtag.s3.address import format_uri, parse_uri
from pawtag.s3.cleanup import find_written_objects, remove_object
from pawtag.s3.client import Client
from pawtag.s3.listing import Listing


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Remove them, or with `--dry-run` name them, and say how many there were."""
    bucket, prefix = parse_uri(arguments.place)
    settings = select_bucket(settings, (bucket, prefix))
    client, objects = Client("s3", settings.s3, max_connections=2), s3_wiring.build_objects(settings)
    records = (settings.s3.sidecar_bucket or bucket, settings.s3.sidecar_prefix + prefix)
    is_within = records[0] == bucket and records[1].startswith(prefix)
    count: Counter[str] = Counter()
    places = {(bucket, prefix): ""} | ({} if is_within else {records: format_uri(bucket, prefix)})
    for place, of in places.items():
        for trace in find_written_objects(
            Listing(client, settings.s3, place), objects.object_tags, objects.sidecars, of
        ):
            if trace.kind == "unread":
                count["unread"] += 1
                continue
            if trace.has_user_content and not arguments.corrected:
                count["left"] += 1
                continue
            if arguments.dry_run:
                print(log.escape_unprintable(f"{trace.kind} {trace.ref.uri}"))
            taken = arguments.dry_run or remove_object(trace, client, objects.object_tags)
            count[trace.kind if taken else "refused"] += 1
    verb = "would be" if arguments.dry_run else "were"
    print(f"the tags of {count['tags']} objects and {count['record']} records {verb} removed")
    if count["left"]:
        print(f"{count['left']} records hold corrections of yours, or other programs' keys; they stay")
    if count["refused"]:
        raise PawtagError(f"The store refuses to take our tags off {count['refused']} objects.")
    if count["unread"]:
        raise PawtagError(f"{count['unread']} objects could not be looked at (see above).")
    return 0
