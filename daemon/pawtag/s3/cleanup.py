"""Removing what pawtag wrote into a bucket: our tags and our sidecar objects. Nothing else."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pawtag.domain.document import SUFFIXES
from pawtag.domain.errors import GoneError, PermanentError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import build_object_params
from pawtag.s3.client import Client
from pawtag.s3.listing import Listing, parse_entry
from pawtag.s3.object_sidecars import ObjectSidecars
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.tag_encoding import CORRECTED, is_ours

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """Our tags on an object, a record of ours, or an object that cannot be read.

    `has_user_content`: the tags or the record hold a correction, or the record holds another program's keys.
    """

    ref: PhotoRef
    kind: Literal["tags", "record", "unread"]
    has_user_content: bool = False


def find_written_objects(
    listing: Listing, object_tags: ObjectTags, sidecars: ObjectSidecars, photo_prefix: str = ""
) -> Iterator[WrittenObject]:
    """Stream what pawtag wrote below the listing's prefix. One request for each object. Raises what `listing` raises.

    `photo_prefix`: only records of photos whose URI begins with it.
    """
    for entry in listing.entries():
        ref = parse_entry(listing.bucket, entry)
        try:
            if ref.uri.endswith(SUFFIXES):
                found = sidecars.look(ref.uri).found
                if found and found.is_ours and (found.source_uri or "").startswith(photo_prefix):
                    yield WrittenObject(ref, "record", found.has_user_content)
            elif ours := [name for name in object_tags.read(ref) if is_ours(name)]:
                yield WrittenObject(ref, "tags", CORRECTED in ours)
        except GoneError:
            continue
        except (PermanentError, TemporaryError) as error:
            log.warning("%s", error, extra={"uri": ref.uri, "reason": str(error)})
            yield WrittenObject(ref, "unread")


def remove_object(written: WrittenObject, client: Client, object_tags: ObjectTags) -> bool:
    """Remove it; False if the store refuses. One object at a time: Ceph 16's gateway crashes on batches."""
    if written.kind == "tags":
        return object_tags.remove(written.ref)
    with client.translate_errors(written.ref.uri):
        client.delete_object(**build_object_params(written.ref.uri))
    return True
