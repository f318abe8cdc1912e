"""Taking back what pawtag wrote into a bucket: our tags, and our records beside photos. Nothing else."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pawtag.domain.document import SUFFIXES
from pawtag.domain.errors import GoneError, PermanentError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import object_params
from pawtag.s3.client import translate_errors
from pawtag.s3.listing import Listing, parse_entry
from pawtag.s3.object_sidecars import ObjectSidecars
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.tag_encoding import is_ours

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """Something of ours: tags on an object, or an object, or one that could not be read; `holds_yours`: a correction, or another program's keys."""

    ref: PhotoRef
    kind: Literal["tags", "record", "unread"]
    has_user_content: bool = False


def find_written_objects(
    listing: Listing, tagging: ObjectTags, sidecars: ObjectSidecars, of: str = ""
) -> Iterator[WrittenObject]:
    """All that is ours below the listing's prefix, a stream. One request an object. Raises what they raise.

    `of`: of records, only those of photos whose address begins so.
    """
    for entry in listing.entries():
        ref = parse_entry(listing.bucket, entry)
        try:
            if ref.uri.endswith(SUFFIXES):
                found = sidecars.look(ref.uri).found
                if found and found.is_ours and (found.source_uri or "").startswith(of):
                    yield WrittenObject(ref, "record", found.has_user_content)
            elif any(is_ours(name) for name in tagging.read(ref)):
                yield WrittenObject(ref, "tags")
        except GoneError:
            continue
        except (PermanentError, TemporaryError) as error:
            log.warning("%s", error)
            yield WrittenObject(ref, "unread")


def remove_object(trace: WrittenObject, client: Any, tagging: ObjectTags) -> bool:
    """Take it back; False where the store refuses. Objects are deleted one by one: Ceph 16's gateway dies of many at once."""
    if trace.kind == "tags":
        return tagging.remove(trace.ref)
    with translate_errors(trace.ref.uri):
        client.delete_object(**object_params(trace.ref.uri))
    return True
