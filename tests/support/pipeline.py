"""What the sources of a daemon share, around a tagger that sees colours."""

import asyncio
import tempfile
from collections.abc import Collection
from contextlib import asynccontextmanager
from pathlib import Path

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.domain.announcements import Reason
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.announcer import Announcer
from pawtag.pipeline.observers import Observers, RetryLog, log_results
from pawtag.state.database import StateDatabase
from pawtag.state.outbox import Outbox


@asynccontextmanager
async def open_parts(tagger: Tagger, state: Path | None = None, outputs=None, announces: Collection[Reason] = ()):
    """The parts, with the state in that folder, or in one of their own; the tagger answers."""
    with tempfile.TemporaryDirectory() as own:
        database = await asyncio.to_thread(StateDatabase, state or Path(own))
        try:
            async with tagger.run():
                observers = Observers(log_results, RetryLog())
                announcer = Announcer(Outbox(database), announces) if announces else None
                yield PipelineParts(tagger, database, observers, outputs or {}, announcer=announcer)
        finally:
            database.close()
