"""Handles one photo: looks at it, tags it if its record is not current, and writes the record."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pawtag.clock import since_now
from pawtag.domain.corrections import apply_corrections, is_of_another_photo
from pawtag.domain.errors import ChangedError, GoneError, PermanentError, TemporaryError, UnfinishedError
from pawtag.domain.freshness import FreshnessPolicy, Verdict
from pawtag.domain.outcomes import PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.ports import OpenPhoto, Output
from pawtag.domain.records import (
    Corrections,
    Payload,
    PhotoInfo,
    PhotoRef,
    Stamp,
    Tagging,
    TagRecord,
    Written,
    describe_bytes,
    describe_name,
    describe_source,
)
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.announcer import Announcer
from pawtag.pipeline.correction_reader import CorrectionReader
from pawtag.pipeline.memory_limiter import MemoryLimiter
from pawtag.pipeline.record_writer import RecordWriter
from pawtag.pipeline.recording import build_failed_record, build_record
from pawtag.pipeline.suspects import Suspects
from pawtag.pipeline.unwritten import UnwrittenRecords

log = logging.getLogger(__name__)

MAX_BYTES_IN_FLIGHT = 512 * 1024 * 1024
UNFINISHED_DELAY_S = 2.0
# How often a photo is looked at again at once, because a person or a new model changed something meanwhile.
MAX_LOOKS = 4
CHANGES = "The record of a photo changes all the time: do other programs write it?"


@dataclass(slots=True)
class Reconciler:
    """Brings photos and records together, one call for each photo. Lives on the event loop."""

    tagger: Tagger
    outputs: Mapping[str, Output] = field(default_factory=dict)
    suspects: Suspects = field(default_factory=Suspects)
    trusts_mtime: bool = True
    announcer: Announcer | None = None
    started_at: Callable[[], str] = field(default_factory=lambda: since_now(time.monotonic()))
    """Since when the process runs, by the clock as it is now: it may have been wrong at the start."""
    _unwritten: UnwrittenRecords = field(default_factory=UnwrittenRecords)
    _memory: MemoryLimiter = field(default_factory=lambda: MemoryLimiter(MAX_BYTES_IN_FLIGHT))
    _warned_of_peer: bool = False
    _corrections: CorrectionReader = field(init=False)
    _writer: RecordWriter = field(init=False)

    def __post_init__(self) -> None:
        """Connect the labels of the model that serves."""
        self._corrections = CorrectionReader(lambda: self.tagger.labels)
        self._writer = RecordWriter(self.outputs, self.announcer)

    def build_policy(self) -> FreshnessPolicy:
        """The policy of the model that serves now."""
        tagger = self.tagger
        return FreshnessPolicy(
            tagger.identity, tagger.labels, self.started_at(), tagger.own_fingerprints, self.trusts_mtime
        )

    def judge(self, seen: Written, ref: PhotoRef) -> Verdict:
        """What the photo needs, for a scan that looks at many. May be called from any thread."""
        policy = replace(self.build_policy(), trusts_mtime=True)
        verdict = self._judge_outputs(policy.judge(seen.stamp, ref, self.read_corrections(seen, ref)), seen, ref)
        if verdict is not Verdict.NEEDED:
            self._warn_of_peer(policy, seen.stamp, ref)
        return verdict

    def has_current_outputs(self, seen: Written, ref: PhotoRef) -> bool:
        """Whether all outputs are written for the photo with their current settings."""
        return self._writer.has_current_outputs(seen, ref)

    def read_corrections(self, seen: Written, ref: PhotoRef) -> Corrections | None:
        """The corrections that hold for the photo. What is wrong with them is logged once."""
        return self._corrections.read(ref.uri, seen.corrections)

    async def correct(self, photo: OpenPhoto, by_group: Corrections | None, *, replaces: bool = False) -> TagRecord:
        """Write a person's corrections of these groups into the photo's record; None removes all corrections.

        With `replaces`, other corrections are removed. Without a current record the photo is tagged first. Raises
        GoneError, TemporaryError.
        """
        for _ in range(MAX_LOOKS):
            with suppress(ChangedError):
                return await self._correct_once(photo, by_group, replaces=replaces)
        raise TemporaryError(CHANGES)

    async def _correct_once(self, photo: OpenPhoto, by_group: Corrections | None, *, replaces: bool) -> TagRecord:
        seen = await photo.look()
        policy, before = self.build_policy(), self.read_corrections(seen, photo.version)
        corrections = None if by_group is None else {**({} if replaces else before or {}), **by_group} or None
        stamp = seen.stamp
        is_current = stamp is not None and stamp.describes(photo.version) and not policy.supersedes(stamp)
        found = stamp.record if stamp and is_current else None
        # An earlier correction may have dropped tags that the model knows.
        record = found if found and found.corrected is None and by_group is not None else None
        record = record or await self._make_record(photo, None, policy)
        record = apply_corrections(record, corrections, policy.labels)
        return await self._write(photo, record, replace(seen, keeps_corrections=by_group is not None))

    async def retry(self, photo: OpenPhoto, code: str | None = None) -> TagRecord | None:
        """Tag a photo again if its record has a failure (with this code, if given). None for any other photo.

        Raises GoneError, TemporaryError.
        """
        for _ in range(MAX_LOOKS):
            seen = await photo.look()
            failure = seen.stamp.failure if seen.stamp else None
            if failure is None or code not in (None, failure.code):
                return None
            if failure.code == "killed-the-daemon":
                self.suspects.add(photo.version.uri)
            policy, corrections = self.build_policy(), self.read_corrections(seen, photo.version)
            record = apply_corrections(await self._make_record(photo, None, policy), corrections, policy.labels)
            with suppress(ChangedError):
                return await self._write(photo, record, seen)
        raise TemporaryError(CHANGES)

    async def reconcile(self, photo: OpenPhoto) -> PhotoTagged | PhotoFailed | PhotoSkipped:
        """Tag the photo if needed; returns what happened. Raises GoneError, TemporaryError and unexpected errors.

        A record whose write failed is kept: the next call writes it without the model.
        """
        started_s, uri = time.monotonic(), photo.version.uri
        for _ in range(MAX_LOOKS):
            try:
                outcome = await self._reconcile_once(photo, started_s)
            except ChangedError:
                continue
            except GoneError:
                self._unwritten.forget(uri)
                raise
            if isinstance(outcome, PhotoSkipped):
                self._unwritten.forget(uri)
                return outcome
            if self._is_of_serving_model(outcome.record):
                return outcome
        raise TemporaryError(CHANGES)

    async def _reconcile_once(self, photo: OpenPhoto, started_s: float) -> PhotoTagged | PhotoFailed | PhotoSkipped:
        with self.tagger.metrics.time_stage("look"):
            seen = await photo.look()
        corrections = self.read_corrections(seen, photo.version)
        policy = self.build_policy()
        verdict = self._judge_outputs(policy.judge(seen.stamp, photo.version, corrections), seen, photo.version)
        if verdict is not Verdict.NEEDED:
            self._warn_of_peer(policy, seen.stamp, photo.version)
            return _skip(photo.version, seen.stamp, "another-daemon" if verdict is Verdict.FOREIGN else "current")
        found = await self._find_record(photo, seen, policy, corrections)
        if corrections and is_of_another_photo(seen.stamp, found):
            log.warning("the correction of %s is set aside: another photo has its name now", photo.version.uri)
            corrections, seen = None, replace(seen, keeps_corrections=False, sets_aside=True)
        elif corrections and seen.stamp and seen.stamp.sha256 not in (None, found.photo.sha256):
            log.info("the content of %s has changed; its correction stays", photo.version.uri)
        record = apply_corrections(found, corrections, policy.labels)
        if _is_written(seen.stamp, record, photo.version) and self.has_current_outputs(seen, photo.version):
            return _skip(photo.version, seen.stamp)
        if not self._is_of_serving_model(record):
            raise ChangedError("The model was replaced at the same moment.")
        record = await self._write(photo, record, seen)
        outcome = PhotoFailed if record.error else PhotoTagged
        return outcome(photo.version, record, time.monotonic() - started_s)

    async def _write(self, photo: OpenPhoto, record: TagRecord, seen: Written) -> TagRecord:
        corrected_before = self.read_corrections(seen, photo.version) if self.announcer else None
        with self.tagger.metrics.time_stage("write"):
            record = await self._writer.write(photo, record, seen, corrected_before)
        self._unwritten.forget(photo.version.uri)
        return record

    def _judge_outputs(self, verdict: Verdict, seen: Written, ref: PhotoRef) -> Verdict:
        """A current record is written again if an output was switched on, or its settings changed, since."""
        if verdict not in (Verdict.CURRENT, Verdict.FAILED) or not self.outputs:
            return verdict
        if not self.has_current_outputs(seen, ref):
            return Verdict.NEEDED
        return Verdict.INCOMPLETE if verdict is Verdict.CURRENT and seen.output_problems else verdict

    async def _find_record(
        self, photo: OpenPhoto, seen: Written, policy: FreshnessPolicy, corrections: Corrections | None
    ) -> TagRecord:
        """The record that the photo needs, before corrections: one whose write failed, or a new one."""
        fingerprint = policy.identity.fingerprint
        if kept := self._unwritten.get(photo.version, fingerprint):
            return kept
        self._unwritten.require_room(photo.version.uri, self._writer.fault)
        stamp = seen.stamp if seen.stamp and policy.follows(seen.stamp, corrections) else None
        record = await self._make_record(photo, stamp, policy)
        self._unwritten.keep(photo.version, record)
        return record

    async def _make_record(self, photo: OpenPhoto, stamp: Stamp | None, policy: FreshnessPolicy) -> TagRecord:
        known = PhotoInfo(name=describe_name(photo.version.uri), bytes=photo.version.size_bytes)
        try:
            async with self._memory.acquire(photo.version.size_bytes or 0):
                with self.tagger.metrics.time_stage("read"):
                    payload = await photo.read()
                known = await asyncio.to_thread(describe_bytes, payload.data, known.name)
                if stamp and stamp.record and stamp.sha256 == known.sha256 and not policy.supersedes(stamp):
                    return stamp.record.model_copy(update={"source": describe_source(photo.version)})
                await self.suspects.examine(photo.version.uri, payload.data)
                tagging = await self._tag(payload, known)
        except PermanentError as error:
            return build_failed_record(error, known, self.tagger.identity, describe_source(photo.version))
        return build_record(tagging, known.name, describe_source(photo.version))

    async def _tag(self, payload: Payload, known: PhotoInfo) -> Tagging:
        try:
            return await self.tagger.tag(payload.data, photo=known)
        except PermanentError as error:
            if error.code in ("truncated", "empty") and payload.is_fresh and payload.data:
                raise UnfinishedError("The photo is not finished yet.", delay_s=UNFINISHED_DELAY_S) from error
            raise

    def _is_of_serving_model(self, record: TagRecord) -> bool:
        """Whether the model that made the record was not replaced since. True for a record of another daemon."""
        stale = self.tagger.own_fingerprints - {self.tagger.identity.fingerprint}
        return record.fingerprint not in stale

    def _warn_of_peer(self, policy: FreshnessPolicy, stamp: Stamp | None, ref: PhotoRef) -> None:
        if stamp is None or self._warned_of_peer or policy.is_from_wanted_model(stamp):
            return
        if policy.written_by_peer(stamp):
            self._warned_of_peer = True
            log.warning(
                "another daemon or command with another model or labels wrote the record of %s; it is left unchanged",
                ref.uri,
                extra={"uri": ref.uri},
            )


def _skip(ref: PhotoRef, stamp: Stamp | None, reason: str = "current") -> PhotoSkipped:
    failure, since = (stamp.failure, stamp.tagged_at) if stamp else (None, None)
    return PhotoSkipped(reason, ref=ref, failure=failure, since=since, record=stamp.record if stamp else None)


def _is_written(stamp: Stamp | None, record: TagRecord, version: PhotoRef) -> bool:
    """Whether the written record is equal to this one, or has the same failure and corrections."""
    if stamp is None or stamp.record is None or not stamp.describes(version):
        return False
    is_same_failure = record.error is not None and record.error == stamp.failure
    return stamp.record == record or (is_same_failure and record.corrected == stamp.record.corrected)
