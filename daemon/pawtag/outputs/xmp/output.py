"""The XMP output: a photo's tags as keywords in the sidecar that photo apps read."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pawtag.domain.errors import ChangedError, TemporaryError
from pawtag.domain.records import OBJECT_SCHEME, Json, PhotoRef, TagRecord
from pawtag.images.embedded_keywords import read_embedded_keywords
from pawtag.outputs.xmp.keywords import KeywordEdit, KeywordPath, OwnKeywords, XmpMemory, list_keyword_paths
from pawtag.outputs.xmp.packet import Packet, PacketError
from pawtag.outputs.xmp.sidecar_file import XmpSidecarFile, find_name, join_name, read_version, translate_errors
from pawtag.state.output_intents import OutputIntents

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class XmpChange:
    """What is to be written: without `content` and `removes` nothing. `after`: what is remembered of it."""

    file: XmpSidecarFile
    after: XmpMemory
    content: bytes | None = None
    removes: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the file changes."""
        return self.content is not None or self.removes

    def write(self) -> None:
        """Write it. Raises ChangedError, PacketError, OSError."""
        if self.removes:
            self.file.remove()
        elif self.content is not None:
            self.file.replace(self.content)


@dataclass(frozen=True, slots=True)
class XmpOutput:
    """See ports.Output. `root`: the keyword above all others; `intents`: what is being written."""

    root: str
    intents: OutputIntents
    max_photo_bytes: int

    def covers(self, photo: PhotoRef) -> bool:
        """Files have XMP sidecars; objects have none."""
        return not photo.uri.startswith(OBJECT_SCHEME)

    def is_current(self, photo: PhotoRef, before: Json) -> bool:
        """Whether it was written with this root; where the file could not be edited, whether that is the same still."""
        memory = XmpMemory.parse(before)
        if memory is None or memory.root != self.root:
            return False
        return memory.problem is None or read_version(join_name(photo.uri, memory.file)) == memory.version

    async def write(self, photo: PhotoRef, record: TagRecord, before: Json) -> Json:
        """Bring the keywords to the record's tags. A file that cannot be edited is named in the log, and left."""
        begun = await self.intents.get(photo.uri)
        memory = XmpMemory.parse(begun) or XmpMemory.parse(before)
        after = await self._apply(photo, memory, list_keyword_paths(record, self.root))
        if after.problem:
            path = join_name(photo.uri, after.file)
            log.warning("the XMP sidecar %s is left unchanged: %s", path, after.problem, extra={"uri": photo.uri})
        return after.model_dump(mode="json", exclude_defaults=True)

    async def settle(self, photo: PhotoRef) -> None:
        """The record that holds what `write` has returned is written."""
        await self.intents.drop(photo.uri)

    async def remove(self, photo: PhotoRef, before: Json) -> None:
        """Remove the keywords that pawtag added, and a file that pawtag made, unless somebody has written into it.

        Raises TemporaryError, also for a file that cannot be edited.
        """
        memory = XmpMemory.parse(await self.intents.get(photo.uri)) or XmpMemory.parse(before)
        if memory is None or not (memory.added or memory.carried):
            return
        for _ in range(MAX_ATTEMPTS):
            with suppress(ChangedError):
                after = await self._edit(photo, memory, ())
                if after.problem:
                    raise TemporaryError(f"{join_name(photo.uri, memory.file)} is left unchanged: {after.problem}.")
                await self.intents.drop(photo.uri)
                return
        raise TemporaryError(f"Another program writes {join_name(photo.uri, memory.file)} all the time.")

    async def _apply(self, photo: PhotoRef, before: XmpMemory | None, wanted: tuple[KeywordPath, ...]) -> XmpMemory:
        with translate_errors(photo.uri):
            name = await asyncio.to_thread(find_name, photo.uri)
        if before and before.file != name:  # apps read another file now
            await self._edit(photo, before, ())
            before = None
        return await self._edit(photo, before or XmpMemory(file=name, root=self.root), wanted)

    async def _edit(self, photo: PhotoRef, before: XmpMemory, wanted: tuple[KeywordPath, ...]) -> XmpMemory:
        path = join_name(photo.uri, before.file)
        try:
            with translate_errors(photo.uri):
                change = await asyncio.to_thread(self._plan, photo, path, before, wanted)
                if change.is_needed:
                    await self.intents.put(photo.uri, before.begin(change.after).model_dump(mode="json"))
                    await asyncio.to_thread(change.write)
        except PacketError as error:
            problem = {"root": self.root, "problem": str(error), "version": read_version(path)}
            return before.model_copy(update=problem)
        return change.after

    def _plan(self, photo: PhotoRef, path: str, before: XmpMemory, wanted: tuple[KeywordPath, ...]) -> XmpChange:
        file, fresh = XmpSidecarFile.read(path), XmpMemory(file=before.file, root=self.root)
        if file.content is None and not wanted:
            return XmpChange(file, fresh)
        packet = Packet.create() if file.content is None else Packet(file.content)
        memory = before if file.content is not None else fresh.model_copy(update={"is_new": True})
        edit = KeywordEdit(packet, memory, wanted, partial(self._read_embedded, photo))
        after = edit.apply().model_copy(update={"root": self.root})
        if after.is_new and packet.is_empty:
            return XmpChange(file, fresh, removes=True)
        return XmpChange(file, after, packet.encode() if edit.has_changed else None)

    def _read_embedded(self, photo: PhotoRef) -> OwnKeywords:
        """The keywords in the photo; none where its metadata is damaged. Raises OSError."""
        with open(photo.uri, "rb") as file:  # noqa: PTH123 - a name may be any bytes
            found = read_embedded_keywords(file.read(self.max_photo_bytes))
        try:
            return (
                OwnKeywords.read(Packet(found.xmp.strip(b"\0 \r\n\t")), flat=found.iptc)
                if found.xmp
                else OwnKeywords(found.iptc)
            )
        except PacketError:
            return OwnKeywords(found.iptc)
