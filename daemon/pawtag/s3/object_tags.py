"""The tags of objects: read, merged, written, read again. S3 replaces the whole set and knows no condition."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import GoneError, PermanentError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import format_uri, object_params, version_params
from pawtag.s3.client import error_code, translate_errors
from pawtag.s3.tag_encoding import is_ours, merge_tags

log = logging.getLogger(__name__)

REFUSED_CODES = frozenset({"BadRequest", "InvalidTag", "InvalidArgument", "MalformedXML"})
TAGGING_NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})
# Of an object that never was, the store's word for no tags at all; else, perhaps, S3's for a delete marker.
AMBIGUOUS_CODES = frozenset({"MethodNotAllowed", "405"})
PROBE_KEY = ".pawtag-probe"


class ObjectTags:
    """Tags of one store's objects. Every method may be called from any thread."""

    def __init__(self, client: Any) -> None:
        """`client`: boto3's for S3."""
        self._client = client
        self._reports_count: dict[str, bool] = {}
        self.is_supported = True
        """Whether the store has tags at all, as far as is known."""
        self.refuses_our_tags = False
        """Whether ours alone were refused, or are too many: then the record of an object without tags is beside it."""

    def probe(self, bucket: str, prefix: str) -> None:
        """Find out whether the store has tags, by asking for those of no object. Raises TemporaryError."""
        with suppress(GoneError):
            self._read_tags(
                PhotoRef(format_uri(bucket, prefix + PROBE_KEY), 0, 0), TAGGING_NOT_IMPLEMENTED | AMBIGUOUS_CODES
            )

    def read(self, ref: PhotoRef) -> dict[str, str]:
        """The tags of that version of an object. Raises what `explained` raises."""
        return self._read_tags(ref, TAGGING_NOT_IMPLEMENTED)

    def read_after_get(self, ref: PhotoRef, count: int | None) -> dict[str, str]:
        """The tags of an object whose GET told their number; None where it told nothing."""
        if count:
            self._reports_count[_bucket_of(ref)] = True
        elif self._reports_count.get(_bucket_of(ref)) is not False:
            return {}
        return self.read(ref)

    def write(self, ref: PhotoRef, own: Mapping[str, str], there: Mapping[str, str]) -> bool:
        """Merge ours into what is there now; False where the store refuses or has no room: then nothing changed.

        `there`: the tags as they were a moment ago; any others, or what may be past, where they are to be read again.
        Where there were none, and a GET of this bucket is known to tell of tags, they are not. Raises TemporaryError where ours were lost to another's.
        """
        if not self.is_supported:
            return False
        counting = self._reports_count.get(_bucket_of(ref))
        now = self.read(ref) if there or not counting else {}
        together = merge_tags(own, now)
        if together is None or not self._put(ref, together):
            self._remove_our_tags(ref, now)
            return False
        if counting is None:
            self._learn_tag_count(ref)
        if any(not is_ours(name) for name in now):
            self._check(ref, together)
        return True

    def remove(self, ref: PhotoRef) -> bool:
        """Take our tags off an object; False where there are none."""
        now = self.read(ref)
        others = {name: value for name, value in now.items() if not is_ours(name)}
        if others == now:
            return False
        if others:
            return self._put(ref, others)
        with translate_errors(ref.uri):
            self._client.delete_object_tagging(**version_params(ref))
        return True

    def _remove_our_tags(self, ref: PhotoRef, there: Mapping[str, str]) -> None:
        """Take old tags of ours off, or they would contradict the record that is now beside the object."""
        others = {name: value for name, value in there.items() if not is_ours(name)}
        self.refuses_our_tags |= not others
        if others and others != there:
            self._put(ref, others)

    def _read_tags(self, ref: PhotoRef, unsupported_codes: frozenset[str]) -> dict[str, str]:
        with translate_errors(ref.uri):
            try:
                found = self._client.get_object_tagging(**version_params(ref))
            except ClientError as error:
                if self._is_unsupported(error, ref, unsupported_codes):
                    return {}
                raise
        return {tag["Key"]: tag["Value"] for tag in found.get("TagSet") or []}

    def _put(self, ref: PhotoRef, tags: Mapping[str, str]) -> bool:
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        with translate_errors(ref.uri):
            try:
                self._client.put_object_tagging(**version_params(ref), Tagging={"TagSet": tag_set})
            except ClientError as error:
                if self._is_unsupported(error, ref) or error_code(error) in REFUSED_CODES:
                    return False
                raise
        return True

    def _check(self, ref: PhotoRef, written: Mapping[str, str]) -> None:
        """Read again where others write tags too."""
        if not written.items() <= self.read(ref).items():
            raise TemporaryError(f"Another program changed the tags of {ref.uri} at the same moment.")

    def _learn_tag_count(self, ref: PhotoRef) -> None:
        """Whether a GET tells the number of tags: not without s3:GetObjectTagging, and not on every store.

        A count that is missing must not be taken for no tags: the next write would wipe out somebody's.
        """
        try:
            with translate_errors(ref.uri):
                found = self._client.get_object(**object_params(ref.uri))
        except PermanentError:
            return  # another object will tell
        found["Body"].close()
        self._reports_count[_bucket_of(ref)] = bool(found.get("TagCount"))

    def _is_unsupported(
        self, error: ClientError, ref: PhotoRef, unsupported_codes: frozenset[str] = TAGGING_NOT_IMPLEMENTED
    ) -> bool:
        """Whether the error says that the store has no tags; that is named once."""
        if error_code(error) not in unsupported_codes:
            if error_code(error) in AMBIGUOUS_CODES and self.is_supported:
                self.probe(_bucket_of(ref), object_params(ref.uri)["Key"])  # next to it: a policy may end at a prefix
            return error_code(error) in AMBIGUOUS_CODES and not self.is_supported
        if self.is_supported:
            log.warning("This store has no object tags: records are written as objects beside the photos.")
        self.is_supported = False
        return True


def _bucket_of(ref: PhotoRef) -> str:
    return str(object_params(ref.uri)["Bucket"])
