"""The tags of objects: read, merged, written, read again. S3 replaces the whole set and knows no condition."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import GoneError, PermanentError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import place, uri_of, version
from pawtag.s3.client import code_of, explained
from pawtag.s3.tag_encoding import is_ours, merged

log = logging.getLogger(__name__)

REFUSED = frozenset({"BadRequest", "InvalidTag", "InvalidArgument", "MalformedXML"})
NO_TAGGING = frozenset({"NotImplemented", "501"})
# Of an object that never was, the store's word for no tags at all; else, perhaps, S3's for a delete marker.
DOUBTFUL = frozenset({"MethodNotAllowed", "405"})
PROBE = ".pawtag-probe"


class Tagging:
    """Tags of one store's objects. Every method may be called from any thread."""

    def __init__(self, client: Any) -> None:
        """`client`: boto3's for S3."""
        self._client = client
        self._counting: dict[str, bool] = {}
        self.is_there = True
        """Whether the store has tags at all, as far as is known."""
        self.refuses_ours = False
        """Whether ours alone were refused, or are too many: then the record of an object without tags is beside it."""

    def probe(self, bucket: str, prefix: str) -> None:
        """Find out whether the store has tags, by asking for those of no object. Raises TemporaryError."""
        with suppress(GoneError):
            self._of(PhotoRef(uri_of(bucket, prefix + PROBE), 0, 0), NO_TAGGING | DOUBTFUL)

    def of(self, ref: PhotoRef) -> dict[str, str]:
        """The tags of that version of an object. Raises what `explained` raises."""
        return self._of(ref, NO_TAGGING)

    def opened(self, ref: PhotoRef, count: int | None) -> dict[str, str]:
        """The tags of an object whose GET told their number; None where it told nothing."""
        if count:
            self._counting[_bucket(ref)] = True
        elif self._counting.get(_bucket(ref)) is not False:
            return {}
        return self.of(ref)

    def write(self, ref: PhotoRef, own: Mapping[str, str], there: Mapping[str, str]) -> bool:
        """Merge ours into what is there now; False where the store refuses or has no room: then nothing changed.

        `there`: the tags as they were a moment ago; any others, or what may be past, where they are to be read again.
        Where there were none, and a GET of this bucket is known to tell of tags, they are not. Raises TemporaryError where ours were lost to another's.
        """
        if not self.is_there:
            return False
        counting = self._counting.get(_bucket(ref))
        now = self.of(ref) if there or not counting else {}
        together = merged(own, now)
        if together is None or not self._put(ref, together):
            self._give_way(ref, now)
            return False
        if counting is None:
            self._learn(ref)
        if any(not is_ours(name) for name in now):
            self._check(ref, together)
        return True

    def remove(self, ref: PhotoRef) -> bool:
        """Take our tags off an object; False where there are none."""
        now = self.of(ref)
        others = {name: value for name, value in now.items() if not is_ours(name)}
        if others == now:
            return False
        if others:
            return self._put(ref, others)
        with explained(ref.uri):
            self._client.delete_object_tagging(**version(ref))
        return True

    def _give_way(self, ref: PhotoRef, there: Mapping[str, str]) -> None:
        """Take old tags of ours off, or they would contradict the record that is now beside the object."""
        others = {name: value for name, value in there.items() if not is_ours(name)}
        self.refuses_ours |= not others
        if others and others != there:
            self._put(ref, others)

    def _of(self, ref: PhotoRef, no_tagging: frozenset[str]) -> dict[str, str]:
        with explained(ref.uri):
            try:
                found = self._client.get_object_tagging(**version(ref))
            except ClientError as error:
                if self._notice(error, ref, no_tagging):
                    return {}
                raise
        return {tag["Key"]: tag["Value"] for tag in found.get("TagSet") or []}

    def _put(self, ref: PhotoRef, tags: Mapping[str, str]) -> bool:
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        with explained(ref.uri):
            try:
                self._client.put_object_tagging(**version(ref), Tagging={"TagSet": tag_set})
            except ClientError as error:
                if self._notice(error, ref) or code_of(error) in REFUSED:
                    return False
                raise
        return True

    def _check(self, ref: PhotoRef, written: Mapping[str, str]) -> None:
        """Read again where others write tags too."""
        if not written.items() <= self.of(ref).items():
            raise TemporaryError(f"Another program changed the tags of {ref.uri} at the same moment.")

    def _learn(self, ref: PhotoRef) -> None:
        """Whether a GET tells the number of tags: not without s3:GetObjectTagging, and not on every store.

        A count that is missing must not be taken for no tags: the next write would wipe out somebody's.
        """
        try:
            with explained(ref.uri):
                found = self._client.get_object(**place(ref.uri))
        except PermanentError:
            return  # another object will tell
        found["Body"].close()
        self._counting[_bucket(ref)] = bool(found.get("TagCount"))

    def _notice(self, error: ClientError, ref: PhotoRef, no_tagging: frozenset[str] = NO_TAGGING) -> bool:
        """Whether the error says that the store has no tags; that is named once."""
        if code_of(error) not in no_tagging:
            if code_of(error) in DOUBTFUL and self.is_there:
                self.probe(_bucket(ref), place(ref.uri)["Key"])  # next to it: a policy may end at a prefix
            return code_of(error) in DOUBTFUL and not self.is_there
        if self.is_there:
            log.warning("This store has no object tags: records are written as objects beside the photos.")
        self.is_there = False
        return True


def _bucket(ref: PhotoRef) -> str:
    return str(place(ref.uri)["Bucket"])
