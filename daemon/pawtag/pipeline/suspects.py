"""Photos that an earlier process was working on when it ended. Each is first decoded in a separate process."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from pawtag.domain.errors import PermanentError

log = logging.getLogger(__name__)

# Whether a process survives the bytes. Blocks.
Trial = Callable[[bytes], bool]


class Suspects:
    """The photos, by URI. At most one of them ended the process; something else may have killed it."""

    def __init__(self, uris: Iterable[str] = (), survives: Trial = lambda _: True) -> None:
        """`survives`: decodes the bytes in a separate process; false if that is killed or hangs."""
        self._uris: set[str] = set(uris)
        self._survives, self._turn = survives, asyncio.Lock()

    def add(self, uri: str) -> None:
        """One more."""
        self._uris.add(uri)

    async def examine(self, uri: str, data: bytes) -> None:
        """Decode the bytes of a suspect once. Raises PermanentError if the process that decodes them dies or hangs."""
        if uri not in self._uris:
            return
        self._uris.discard(uri)
        async with self._turn:  # several at once might take the memory from each other
            is_harmless = await asyncio.to_thread(self._survives, data)
        if not is_harmless:
            raise PermanentError(
                "killed-the-daemon",
                "A process that decodes this file is killed or hangs; it is not tried again as it is.",
            )
        log.debug("%s is decoded without harm", uri)
