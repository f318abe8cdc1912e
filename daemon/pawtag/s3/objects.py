"""The photos of a store, opened one by one. Each source of objects has its own threads."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress

from pawtag.config import S3Settings
from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.images import ImageLimits
from pawtag.pipeline.threaded_photo import ThreadedPhoto
from pawtag.s3.client import Client
from pawtag.s3.object_sidecars import ObjectSidecars
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.stored_object import StoreAccess, StoredObject

SPARE_THREADS = 2


class Objects:
    """The photos of a store."""

    def __init__(self, client: Client, settings: S3Settings, limits: ImageLimits) -> None:
        """`client`: an S3 client."""
        self._settings = settings
        self.object_tags, self.sidecars = ObjectTags(client), ObjectSidecars(client, settings)
        self._access = StoreAccess(client, settings, limits, self.object_tags, self.sidecars)
        self.threads = ThreadPoolExecutor(settings.concurrency + SPARE_THREADS, thread_name_prefix="objects")
        """For every call that waits for the store. The shutdown does not wait for them: a store may never answer."""
        self._is_probed = False

    @asynccontextmanager
    async def open(self, ref: PhotoRef) -> AsyncIterator[ThreadedPhoto]:
        """The object of that URI as a photo. A thread closes its body at the end, because a read may still use it."""
        found = StoredObject(ref, self._access)
        try:
            yield ThreadedPhoto(found, self.threads)
        finally:
            if found.is_open:
                with suppress(RuntimeError):  # the threads have ended, and the process ends
                    self.threads.submit(found.close)

    @contextmanager
    def open_blocking(self, ref: PhotoRef) -> Iterator[StoredObject]:
        """The same with calls that block."""
        found = StoredObject(ref, self._access)
        try:
            yield found
        finally:
            found.close()

    def probe(self) -> None:
        """Ask once whether the store supports tags, if s3.bucket is set. Blocks."""
        if self._access.writes_tags and self._settings.bucket and not self._is_probed:
            self._is_probed = True
            with suppress(TemporaryError):  # each photo meets and names it again
                self.object_tags.probe(self._settings.bucket, self._settings.prefix)

    def close(self) -> None:
        """End the threads, without waiting for running calls."""
        self.threads.shutdown(wait=False, cancel_futures=True)
