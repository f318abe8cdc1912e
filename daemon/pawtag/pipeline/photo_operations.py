"""Operations on single photos that people request while the pipeline runs. A lock for each photo separates them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pawtag.domain.outcomes import PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.ports import OpenPhoto, PhotoSource
from pawtag.domain.records import Corrections, PhotoRef, TagRecord, Written
from pawtag.pipeline.observers import Observer
from pawtag.pipeline.photo_locks import PhotoLocks
from pawtag.pipeline.reconciler import Reconciler
from pawtag.state.owed import OwedPhotos


@dataclass(frozen=True, slots=True)
class PhotoOperations:
    """Operations on photos by URI. `publish` hears of each new record. `owed`: see Worker."""

    source: PhotoSource
    reconciler: Reconciler
    publish: Observer
    locks: PhotoLocks
    owed: OwedPhotos | None

    async def correct(
        self, uri: str, by_group: Corrections | None, *, replaces: bool
    ) -> tuple[TagRecord, Corrections | None]:
        """Write these corrections; with `replaces`, remove all others; None removes all.

        Returns the record, and the corrections before. Raises GoneError, TemporaryError.
        """
        started_s = time.monotonic()
        async with self._open(uri) as photo:
            await self._owe_retag(uri)
            before = self.reconciler.read_corrections(await photo.look(), photo.version)
            record = await self.reconciler.correct(photo, by_group, replaces=replaces)
            self._publish(photo, record, started_s)
            return record, before

    async def retry(self, uri: str) -> TagRecord | None:
        """Tag a failed photo again. For any other photo, return its record, if it has a complete one.

        Raises GoneError, TemporaryError.
        """
        started_s = time.monotonic()
        async with self._open(uri) as photo:
            await self._owe_retag(uri)
            record = await self.reconciler.retry(photo)
            if record:
                self._publish(photo, record, started_s)
                return record
            seen = await photo.look()
            found = seen.stamp.record if seen.stamp else None
            self.publish(PhotoSkipped("current", ref=photo.version, record=found))
            return found

    async def look(self, uri: str) -> tuple[PhotoRef, Written]:
        """The photo's version, and what is written for it. Raises GoneError, TemporaryError."""
        async with self._open(uri) as photo:
            seen = await photo.look()
            return photo.version, seen

    async def read(self, uri: str) -> bytes:
        """The photo's bytes. Raises GoneError, PermanentError, TemporaryError."""
        async with self.source.open(PhotoRef(uri)) as photo:
            return (await photo.read()).data

    @asynccontextmanager
    async def _open(self, uri: str) -> AsyncIterator[OpenPhoto]:
        async with self.locks.hold(uri), self.source.open(PhotoRef(uri)) as photo:
            yield photo

    async def _owe_retag(self, uri: str) -> None:
        if self.owed and self.reconciler.tagger.identity.model.fallback:
            await self.owed.add([uri], "retag")

    def _publish(self, photo: OpenPhoto, record: TagRecord, started_s: float) -> None:
        outcome = PhotoFailed if record.error else PhotoTagged
        self.publish(outcome(photo.version, record, time.monotonic() - started_s))
