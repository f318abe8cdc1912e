"""A file that is opened as a photo; its record is its sidecar."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pawtag.domain.errors import GoneError, UnfinishedError
from pawtag.domain.records import Payload, PhotoRef, TagRecord, Written
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import find_photo, read_photo
from pawtag.images.completeness import count_empty_share

# If at least this share of an uncompressed picture is zeros at its end, it looks preallocated rather than black.
RESERVED_SHARE = 0.5


@dataclass(slots=True)
class PhotoFile:
    """See threaded_photo.BlockingPhoto. `find_age`: seconds since the file was seen to change, or None."""

    version: PhotoRef
    sidecars: Sidecars
    max_bytes: int
    find_age: Callable[[], float | None]
    tuning: FolderTuning = field(default_factory=FolderTuning)

    def look(self) -> Written:
        """What the sidecar says. Raises GoneError if there is no regular file."""
        found = find_photo(self.version.uri)
        if found is None:
            raise GoneError(f"{self.version.uri} is gone.")
        self.version = found.ref
        return self.sidecars.look(self.version)

    def read(self) -> Payload:
        """The file's bytes as they are now; see walk.read_photo for the errors.

        Raises UnfinishedError for a file that looks preallocated and not completely written, unless its last change
        was long ago.
        """
        payload = read_photo(self.version.uri, self.max_bytes)
        self.version = payload.ref
        age_s = self.find_age()
        is_fresh = age_s is not None and age_s < self.tuning.fresh_s
        empty_share = count_empty_share(payload.data) if age_s is not None else 0.0
        if (empty_share and is_fresh) or (empty_share >= RESERVED_SHARE and (age_s or 0.0) < self.tuning.held_s):
            raise UnfinishedError(f"{self.version.uri} ends in zeros: it may be incomplete.", delay_s=5.0)
        return replace(payload, is_fresh=is_fresh)

    def write(self, record: TagRecord, seen: Written) -> None:
        """Write the sidecar; see Sidecars.write for the errors."""
        self.sidecars.write(self.version, record, seen)
