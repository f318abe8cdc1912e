"""What the sources of a daemon share, around a tagger that sees colours."""

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.observers import Observers, RetryLog, log_results
from pawtag.state.database import StateDatabase


@asynccontextmanager
async def open_parts(tagger: Tagger, state: Path | None = None, outputs=None):
    """The parts, with the state in that folder, or in one of their own; the tagger answers."""
    with tempfile.TemporaryDirectory() as own:
        database = await asyncio.to_thread(StateDatabase, state or Path(own))
        try:
            async with tagger.run():
                observers = Observers(log_results, RetryLog())
                yield PipelineParts(tagger, database, observers, outputs or {})
        finally:
            database.close()
