"""A photo whose calls block, opened as the pipeline wants it: its calls run in threads of its source."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol, TypeVar

from pawtag.domain.records import Payload, PhotoRef, TagRecord, Written

Result = TypeVar("Result")


class BlockingPhoto(Protocol):
    """As ports.OpenPhoto, but its calls block. Only one thread at a time uses it."""

    @property
    def version(self) -> PhotoRef:
        """The version of the photo."""

    def look(self) -> Written:
        """What is written for it."""

    def read(self) -> Payload:
        """Its bytes."""

    def write(self, record: TagRecord, seen: Written) -> None:
        """Write its record."""


class ThreadedPhoto:
    """See ports.OpenPhoto."""

    def __init__(self, photo: BlockingPhoto, threads: Executor) -> None:
        """Every call of `photo` runs in one of `threads`."""
        self._photo, self._threads = photo, threads

    @property
    def version(self) -> PhotoRef:
        """The version of the photo."""
        return self._photo.version

    async def look(self) -> Written:
        """What is written for it."""
        return await self._run(self._photo.look)

    async def read(self) -> Payload:
        """Its bytes."""
        return await self._run(self._photo.read)

    async def write(self, record: TagRecord, seen: Written) -> None:
        """Write its record."""
        await self._run(self._photo.write, record, seen)

    async def _run(self, call: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
