"""The XMP output: a photo's tags as keywords in the sidecar that photo apps read."""

import asyncio
import logging
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

from pawtag.domain.errors import ChangedError, TemporaryError
from pawtag.domain.records import OBJECT_SCHEME, Json, PhotoRef, TagRecord
from pawtag.images.embedded_keywords import read_embedded_keywords
from pawtag.outputs.xmp.keywords import KeywordEdit, KeywordPath, OwnKeywords, format_paths, list_keyword_paths
from pawtag.outputs.xmp.memory import XmpIntent, XmpMemory, digest_content
from pawtag.outputs.xmp.packet import Packet, PacketError
from pawtag.outputs.xmp.sidecar_file import (
    OPEN_FLAGS,
    XmpSidecarFile,
    find_name,
    join_name,
    read_version,
    require_size,
    translate_errors,
)
from pawtag.state.output_intents import OutputIntents

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
MAX_AT_ONCE = 2
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class XmpChange:
    """The change of a file. Without `content` and `removes`, nothing changes. `after`: what is remembered of it."""

    file: XmpSidecarFile
    before: XmpMemory | None
    after: XmpMemory
    content: bytes | None = None
    removes: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the file changes."""
        return self.content is not None or self.removes

    @property
    def intent(self) -> XmpIntent:
        """The intent, which the state keeps until the record is written."""
        digest = digest_content(self.content)
        return XmpIntent(before=self.before, after=self.after, version=self.file.version, digest=digest)

    def write(self) -> None:
        """Write it. Raises ChangedError, OSError."""
        if self.removes:
            self.file.remove()
        elif self.content is not None:
            self.file.replace(self.content)


@dataclass(frozen=True, slots=True)
class PhotoState:
    """What is known of a photo's sidecar before an edit: what the record remembers, and a change that is not settled."""

    recorded: XmpMemory | None
    intent: XmpIntent | None = None

    @property
    def file(self) -> str | None:
        """The name of the file that was written last; None where there is none yet."""
        return self.intent.after.file if self.intent else self.recorded.file if self.recorded else None

    def remember(self, file: XmpSidecarFile, name: str) -> tuple[XmpMemory, bool]:
        """What pawtag has written into the file, and whether that is certain."""
        fresh = XmpMemory(file=name)
        if self.intent is None:
            return self.recorded or fresh, True
        found = self.intent.resolve(self.recorded, file)
        return (found, True) if found else ((self.recorded or fresh).unite(self.intent.after), False)


@dataclass(frozen=True, slots=True)
class XmpOutput:
    """See ports.Output. `root`: the keyword above all others; `intents`: changes that are not in a record yet."""

    root: str
    intents: OutputIntents
    max_photo_bytes: int
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))
    """More threads at a time would wait for each other; and a photo that is read for its keywords may be large."""

    @property
    def unsettled(self) -> AbstractSet[str]:
        """See ports.Output."""
        return self.intents.open

    def covers(self, photo: PhotoRef) -> bool:
        """Files have XMP sidecars; objects have none."""
        return not photo.uri.startswith(OBJECT_SCHEME)

    def is_current(self, photo: PhotoRef, record: TagRecord, before: Json) -> bool:
        """Whether the sidecar has the record's tags or, if it could not be edited, whether it has not changed since."""
        memory = XmpMemory.parse(before)
        if memory is None or photo.uri in self.intents.open:
            return False
        if memory.problem:
            return read_version(join_name(photo.uri, memory.file)) == memory.version
        return memory.wanted == format_paths(list_keyword_paths(record, self.root))

    async def write(self, photo: PhotoRef, record: TagRecord, before: Json) -> Json:
        """Change the keywords to the record's tags. A file that cannot be edited is logged, and left unchanged."""
        state, wanted = await self._read_state(photo, before), list_keyword_paths(record, self.root)
        change = await self._run(photo, self._plan, photo, None, state, wanted)
        if state.file not in (None, change.after.file):  # apps read another file now
            former = await self._run(photo, self._plan, photo, state.file, state, ())
            await self._commit(photo, former)
            is_moved = former.after.problem is None
            change = await self._run(photo, self._plan, photo, None, PhotoState(None), wanted) if is_moved else former
        await self._commit(photo, change)
        if change.after.problem:
            path = join_name(photo.uri, change.after.file)
            log.warning(
                "the XMP sidecar %s is left unchanged: %s", path, change.after.problem, extra={"uri": photo.uri}
            )
        return change.after.to_json()

    def settle(self, photo: PhotoRef) -> None:
        """Note that the record with the result of `write` is written."""
        self.intents.settle(photo.uri)

    async def remove(self, photo: PhotoRef, before: Json) -> None:
        """Remove the keywords that pawtag added, and a file that pawtag made, unless somebody has written into it.

        Raises TemporaryError, also for a file that cannot be edited.
        """
        state = await self._read_state(photo, before)
        known = [memory for memory in (state.recorded, state.intent and state.intent.after) if memory]
        if not any(memory.added or memory.carried for memory in known):
            await self.intents.drop(photo.uri)
            return
        for _ in range(MAX_ATTEMPTS):
            with suppress(ChangedError):
                change = await self._run(photo, self._plan, photo, state.file, state, ())
                if reason := change.after.problem:
                    raise TemporaryError(f"{join_name(photo.uri, change.after.file)} is left unchanged: {reason}.")
                await self._commit(photo, change)
                await self.intents.drop(photo.uri)
                return
        raise TemporaryError(f"Another program writes {join_name(photo.uri, str(state.file))} all the time.")

    async def _read_state(self, photo: PhotoRef, before: Json) -> PhotoState:
        kept = await self.intents.get(photo.uri) if photo.uri in self.intents.open else None
        return PhotoState(XmpMemory.parse(before), XmpIntent.parse(kept))

    async def _commit(self, photo: PhotoRef, change: XmpChange) -> None:
        if change.is_needed:
            await self.intents.put(photo.uri, change.intent.model_dump(mode="json"))
            await self._run(photo, change.write)

    async def _run(self, photo: PhotoRef, work: Callable[..., Result], *given: object) -> Result:
        with translate_errors(photo.uri):
            async with self._slots:
                return await asyncio.to_thread(work, *given)

    def _plan(self, photo: PhotoRef, name: str | None, state: PhotoState, wanted: tuple[KeywordPath, ...]) -> XmpChange:
        """Plan the change of the sidecar `name`, by default of the sidecar that apps read. Raises OSError."""
        name = name or find_name(photo.uri)
        file = XmpSidecarFile(join_name(photo.uri, name))
        try:
            file = file.read()
            return self._plan_edit(photo, file, name, state, wanted)
        except PacketError as error:
            memory = state.recorded or XmpMemory(file=name)
            version = file.version or read_version(file.path)
            after = memory.model_copy(update={"file": name, "problem": str(error), "version": version})
            return XmpChange(file, state.recorded, after)

    def _plan_edit(
        self, photo: PhotoRef, file: XmpSidecarFile, name: str, state: PhotoState, wanted: tuple[KeywordPath, ...]
    ) -> XmpChange:
        fresh = XmpMemory(file=name)
        if file.content is None and not wanted:
            return XmpChange(file, state.recorded, fresh)
        memory, is_certain = state.remember(file, name)
        if file.content is None:
            memory = fresh.model_copy(update={"is_new": True})
        packet = Packet(file.content) if file.content is not None else Packet.create()
        edit = KeywordEdit(packet, memory, wanted, cache(partial(self._read_embedded, photo)), is_certain)
        after = edit.apply().model_copy(update={"file": name})
        if after.is_new and packet.is_empty:
            return XmpChange(file, state.recorded, fresh, removes=file.content is not None)
        content = packet.encode() if edit.has_changed else None
        require_size(content)
        return XmpChange(file, state.recorded, after, content)

    def _read_embedded(self, photo: PhotoRef) -> OwnKeywords:
        """The keywords in the photo; none where its metadata is damaged. Raises OSError."""
        with open(photo.uri, "rb", opener=_open_photo) as file:
            found = read_embedded_keywords(file.read(self.max_photo_bytes))
        with suppress(PacketError):
            if found.xmp:
                return OwnKeywords.read(Packet(found.xmp), flat=found.iptc)
        return OwnKeywords.read(Packet.create(), flat=found.iptc)


def _open_photo(path: str, _: int) -> int:
    return os.open(path, OPEN_FLAGS)
