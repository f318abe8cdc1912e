"""A file that is opened as a photo; its record is its sidecar."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pawtag.domain.errors import GoneError
from pawtag.domain.records import Payload, PhotoRef, TagRecord, Written
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.walk import find_photo, read_photo


@dataclass(slots=True)
class PhotoFile:
    """See threaded_photo.BlockingPhoto. `is_fresh`: whether the file changed so recently that it may not be finished."""

    version: PhotoRef
    sidecars: Sidecars
    max_bytes: int
    is_fresh: Callable[[], bool]

    def look(self) -> Written:
        """What the sidecar says. Raises GoneError if there is no regular file."""
        found = find_photo(self.version.uri)
        if found is None:
            raise GoneError(f"{self.version.uri} is gone.")
        self.version = found.ref
        return self.sidecars.look(self.version)

    def read(self) -> Payload:
        """The file's bytes as they are now; see walk.read_photo for the errors."""
        payload = read_photo(self.version.uri, self.max_bytes)
        self.version = payload.ref
        return replace(payload, is_fresh=self.is_fresh())

    def write(self, record: TagRecord, seen: Written) -> None:
        """Write the sidecar; see Sidecars.write for the errors."""
        self.sidecars.write(self.version, record, seen)
