"""Writes the outputs, then the announcement, and last the record, which makes all of them valid."""

from collections.abc import Mapping
from dataclasses import dataclass

from pawtag.domain.errors import ChangedError, GoneError
from pawtag.domain.ports import OpenPhoto, Output
from pawtag.domain.records import Corrections, PhotoRef, TagRecord, Written
from pawtag.pipeline.announcer import Announcer


@dataclass(slots=True)
class RecordWriter:
    """Writes the records of one source. `fault`: why the last write failed; None once one succeeds."""

    outputs: Mapping[str, Output]
    announcer: Announcer | None
    fault: str | None = None

    def has_current_outputs(self, seen: Written, ref: PhotoRef) -> bool:
        """Whether all outputs are written for the photo with their current settings."""
        record = seen.stamp.record if seen.stamp else None
        covering = [(name, output) for name, output in self.outputs.items() if output.covers(ref)]
        return record is None or all(
            output.is_current(ref, record, seen.outputs.get(name)) for name, output in covering
        )

    async def write(
        self, photo: OpenPhoto, record: TagRecord, seen: Written, corrected_before: Corrections | None
    ) -> TagRecord:
        """Returns the record as it is written. Raises ChangedError, GoneError, TemporaryError."""
        try:
            record = await self._write_all(photo, record, seen, corrected_before)
        except (ChangedError, GoneError):
            raise
        except Exception as error:
            self.fault = str(error)
            raise
        self.fault = None
        return record

    async def _write_all(
        self, photo: OpenPhoto, record: TagRecord, seen: Written, corrected_before: Corrections | None
    ) -> TagRecord:
        outputs = {name: output for name, output in self.outputs.items() if output.covers(photo.version)}
        written = {
            name: await output.write(photo.version, record, seen.outputs.get(name)) for name, output in outputs.items()
        }
        record = record.model_copy(update={"outputs": {**seen.outputs, **written}})
        try:
            await self._write_announced(photo, record, seen, corrected_before)
        except GoneError:
            for name, output in outputs.items():
                await output.remove(photo.version, written[name])
            raise
        for output in outputs.values():
            output.settle(photo.version)
        return record

    async def _write_announced(
        self, photo: OpenPhoto, record: TagRecord, seen: Written, corrected_before: Corrections | None
    ) -> None:
        if self.announcer is None:
            await photo.write(record, seen)
            return
        announced = await self.announcer.prepare(photo.version, record, seen, corrected_before)
        try:
            await photo.write(record, seen)
        except (ChangedError, GoneError):
            if announced:
                await self.announcer.discard(announced)
            raise
        if announced:
            await self.announcer.release(announced)
