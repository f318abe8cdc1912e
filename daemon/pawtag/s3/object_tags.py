"""The tags of objects: read, merged, written, read again. S3 replaces the whole set, and has no conditional write."""

import logging
from collections.abc import Mapping
from contextlib import suppress

from botocore.exceptions import ClientError

from pawtag.domain.errors import ChangedError, GoneError, PermanentError
from pawtag.domain.records import Corrections, PhotoRef
from pawtag.s3.address import build_object_params, build_version_params, format_uri
from pawtag.s3.client import Client
from pawtag.s3.client_errors import read_error_code
from pawtag.s3.tag_encoding import is_ours, merge_tags, parse_tag_corrections

log = logging.getLogger(__name__)

REFUSED_TAGS_CODES = frozenset({"BadRequest", "InvalidTag", "InvalidArgument", "MalformedXML"})
TAGGING_NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})
# For an object that never existed: the store has no tags. For any other: perhaps a delete marker.
AMBIGUOUS_CODES = frozenset({"MethodNotAllowed", "405"})
PROBE_KEY = ".pawtag-probe"


class ObjectTags:
    """Tags of one store's objects. Every method may be called from any thread."""

    def __init__(self, client: Client) -> None:
        """`client`: an S3 client."""
        self._client = client
        self._reports_count: dict[str, bool] = {}
        self.is_supported = True
        """Whether the store supports tags, as far as is known."""
        self.refuses_our_tags = False
        """Whether the store refused our tags on an object without others. Then sidecar objects hold the records."""

    def probe(self, bucket: str, prefix: str) -> None:
        """Find out whether the store supports tags: ask for those of an object that does not exist. Raises TemporaryError."""
        with suppress(GoneError):
            self._read_tags(PhotoRef(format_uri(bucket, prefix + PROBE_KEY)), TAGGING_NOT_IMPLEMENTED | AMBIGUOUS_CODES)

    def read(self, ref: PhotoRef) -> dict[str, str]:
        """The tags of that version of an object. Raises what `Client.translate_errors` raises."""
        return self._read_tags(ref, TAGGING_NOT_IMPLEMENTED)

    def read_after_get(self, ref: PhotoRef, count: int | None) -> dict[str, str]:
        """The tags of an object after its GET. `count`: their number in the answer, or None if it is missing."""
        if count:
            self._reports_count[_bucket_of(ref)] = True
        elif self._reports_count.get(_bucket_of(ref)) is not False:
            return {}
        return self.read(ref)

    def write(
        self, ref: PhotoRef, own: Mapping[str, str], known: Mapping[str, str], corrections: Corrections | None = None
    ) -> bool:
        """Merge our tags into the current ones. False if the store refuses them, or if they do not fit.

        `known`: the tags as they were a moment ago. If it is empty, and the answer to a GET of this bucket contains the
        number of tags, they are not read again; in any other case they are. `corrections`: those in the tags at that
        time. Raises ChangedError if they have changed since, or if another program overwrote our tags.
        """
        if not self.is_supported:
            return False
        counting = self._reports_count.get(_bucket_of(ref))
        current = self.read(ref) if known or not counting else {}
        if current and parse_tag_corrections(current) != corrections:
            raise ChangedError(f"A person changed the tags of {ref.uri} at the same moment.")
        merged = merge_tags(own, current)
        if merged is None or not self._put(ref, merged):
            self._remove_our_tags(ref, current)
            return False
        if counting is None:
            self._learn_tag_count(ref)
        if any(not is_ours(name) for name in current):
            self._verify(ref, merged)
        return True

    def remove(self, ref: PhotoRef) -> bool:
        """Remove our tags from an object; False if it has none."""
        current = self.read(ref)
        others = {name: value for name, value in current.items() if not is_ours(name)}
        if others == current:
            return False
        if others:
            return self._put(ref, others)
        with self._client.translate_errors(ref.uri):
            self._client.delete_object_tagging(**build_version_params(ref))
        return True

    def _remove_our_tags(self, ref: PhotoRef, current: Mapping[str, str]) -> None:
        """Remove our old tags: they would contradict the record in the sidecar object."""
        others = {name: value for name, value in current.items() if not is_ours(name)}
        self.refuses_our_tags |= not others
        if others and others != current:
            self._put(ref, others)

    def _read_tags(self, ref: PhotoRef, unsupported_codes: frozenset[str]) -> dict[str, str]:
        with self._client.translate_errors(ref.uri):
            try:
                found = self._client.get_object_tagging(**build_version_params(ref))
            except ClientError as error:
                if self._is_unsupported(error, ref, unsupported_codes):
                    return {}
                raise
        return {tag["Key"]: tag["Value"] for tag in found.get("TagSet") or []}

    def _put(self, ref: PhotoRef, tags: Mapping[str, str]) -> bool:
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        with self._client.translate_errors(ref.uri):
            try:
                self._client.put_object_tagging(**build_version_params(ref), Tagging={"TagSet": tag_set})
            except ClientError as error:
                if self._is_unsupported(error, ref) or read_error_code(error) in REFUSED_TAGS_CODES:
                    return False
                raise
        return True

    def _verify(self, ref: PhotoRef, written: Mapping[str, str]) -> None:
        """Read the tags again: another program writes tags, too."""
        if not written.items() <= self.read(ref).items():
            raise ChangedError(f"Another program changed the tags of {ref.uri} at the same moment.")

    def _learn_tag_count(self, ref: PhotoRef) -> None:
        """Find out whether a GET contains the number of tags. Without s3:GetObjectTagging, or on some stores, it does not.

        A missing number must not count as zero: the next write would remove the tags of another program.
        """
        try:
            with self._client.translate_errors(ref.uri):
                found = self._client.get_object(**build_object_params(ref.uri))
        except PermanentError:
            return  # try it with another object
        found["Body"].close()
        self._reports_count[_bucket_of(ref)] = bool(found.get("TagCount"))

    def _is_unsupported(
        self, error: ClientError, ref: PhotoRef, unsupported_codes: frozenset[str] = TAGGING_NOT_IMPLEMENTED
    ) -> bool:
        """Whether the error says that the store has no tags; the log names that once."""
        if read_error_code(error) not in unsupported_codes:
            if read_error_code(error) in AMBIGUOUS_CODES and self.is_supported:
                self.probe(
                    _bucket_of(ref), build_object_params(ref.uri)["Key"]
                )  # next to the object: a policy may allow one prefix only
            return read_error_code(error) in AMBIGUOUS_CODES and not self.is_supported
        if self.is_supported:
            log.warning("This store supports no object tags; records become sidecar objects (see s3.output).")
        self.is_supported = False
        return True


def _bucket_of(ref: PhotoRef) -> str:
    return str(build_object_params(ref.uri)["Bucket"])
