"""Single photos, by path or URI, for commands: explained, opened, corrected. No daemon is needed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pawtag.app.wiring import DEFAULT_FOLDER, build_sidecars
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, GoneError, PawtagError
from pawtag.domain.explanation import Explanation, explain_record
from pawtag.domain.ports import OpenPhoto
from pawtag.domain.records import OBJECT_SCHEME, PhotoRef, TaggerIdentity
from pawtag.folder.path_check import find_skip_reason
from pawtag.folder.photo_file import PhotoFile
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import find_photo
from pawtag.pipeline.reconciler import Reconciler
from pawtag.pipeline.threaded_photo import ThreadedPhoto
from pawtag.s3.tuning import S3Tuning
from pawtag.state.database import StateDatabase
from pawtag.state.owed import OwedPhotos, find_owed

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pawtag.app.s3_wiring import S3Wiring
    from pawtag.s3.objects import Objects

OBJECT_SKIP_REASONS = {
    "other-bucket": "It is in another bucket than s3.bucket.",
    "other-prefix": "Its key does not begin with s3.prefix.",
    "not-a-photo": "Its name is not that of a photo; see s3.patterns.",
}


OUTPUT_MISSING = "sidecar.xmp was switched on, or changed, since its record was written."


class PhotoAccess:
    """Opens the photos that a person names, as the daemon with these settings would."""

    def __init__(self, settings: Settings, threads: "Executor", s3_tuning: S3Tuning) -> None:
        """Nothing is opened yet. Files are read and written in `threads`."""
        self._settings, self._threads, self._s3_tuning = settings, threads, s3_tuning

    @asynccontextmanager
    async def open(self, place: str) -> AsyncIterator[OpenPhoto]:
        """Open the photo at a path or URI. Raises ConfigError if pawtag does not tag it, OSError if it is not there."""
        if place.startswith(OBJECT_SCHEME):
            if skipped := self._explain_name(place):
                raise ConfigError(skipped.reason)
            async with self._objects.open(PhotoRef(place)) as photo:
                yield photo
            return
        path = self._resolve(place)
        if reason := find_skip_reason(path, self._find_root(path), self._settings.folder):
            raise ConfigError(reason)
        yield ThreadedPhoto(self._open_file(path), self._threads)

    def _open_file(self, path: Path) -> PhotoFile:
        sidecars = build_sidecars(self._settings, self._find_root(path))
        return PhotoFile(PhotoRef(str(path)), sidecars, self._settings.limits.max_file_bytes, lambda: None)

    async def explain(self, place: str, reconciler: Reconciler, database: StateDatabase) -> Explanation:
        """What the daemon does with the photo, and why."""
        try:
            if place.startswith(OBJECT_SCHEME):
                found = self._explain_name(place) or await self._explain_photo(place, place, reconciler)
                return _note_owed(found, database)
            path = self._resolve(place)
            passed_over = self._explain_path(place, path) or self._explain_settling(place, path)
            return passed_over or await self._explain_photo(place, str(path), reconciler)
        except OSError as error:
            return Explanation(place, "unknown", f"It cannot be looked at: {error.strerror}.")
        except PawtagError as error:
            return Explanation(place, "unknown", str(error))

    async def owe_retag(self, place: str, identity: TaggerIdentity, database: StateDatabase) -> None:
        """Note an object that the fallback tags, because no event will name it again. Raises TemporaryError."""
        if place.startswith(OBJECT_SCHEME) and identity.model.fallback:
            await OwedPhotos(database, self._wiring.owed_source).add([place], "retag")

    def _explain_path(self, place: str, path: Path) -> Explanation | None:
        watched = self._settings.folder.path
        root = watched.resolve() if watched else self._find_root(path)
        reason = find_skip_reason(path, root, self._settings.folder)
        return Explanation(place, "skipped", reason) if reason else None

    def _find_root(self, path: Path) -> Path:
        """The folder that is watched, if the path is below it; else the folder that the path is in."""
        watched = (self._settings.folder.path or DEFAULT_FOLDER).resolve()
        return watched if path.is_relative_to(watched) else path.parent

    async def _explain_photo(self, place: str, uri: str, reconciler: Reconciler) -> Explanation:
        try:
            async with self.open(uri) as photo:
                seen = await photo.look()
                corrections = reconciler.read_corrections(seen, photo.version)
                found = explain_record(reconciler.build_policy(), seen, photo.version, corrections)
                if found.state in ("current", "failed") and not reconciler.has_current_outputs(seen, photo.version):
                    found = replace(found, state="stale", reason=OUTPUT_MISSING)
        except GoneError as error:
            return Explanation(place, "skipped" if error.reason != "gone" else "unknown", str(error))
        return replace(found, uri=place)

    def _explain_name(self, uri: str) -> Explanation | None:
        from pawtag.s3.address import find_key_reason, parse_uri

        bucket, key = parse_uri(uri)
        reason = find_key_reason(bucket, key, self._settings.s3)
        return Explanation(uri, "skipped", OBJECT_SKIP_REASONS[reason]) if reason else None

    def _explain_settling(self, place: str, path: Path) -> Explanation | None:
        found = find_photo(str(path))
        if found is None or found.is_stable(FolderTuning().stable_age_s):
            return None
        seen = self._open_file(path).look()
        if seen.stamp or seen.problem:
            return None  # its record explains more
        if found.age_s < 0:
            return None  # its time is in the future, so its age is unknown
        return Explanation(place, "settling", f"It changed {found.age_s:.0f} s ago. It is tagged once it is finished.")

    @staticmethod
    def _resolve(place: str) -> Path:
        """The absolute path. Links in its folder are followed; a link at the path itself is not."""
        path = Path(os.path.abspath(Path(place).expanduser()))  # noqa: PTH100 - resolve() follows the last link
        return path.parent.resolve() / path.name

    @cached_property
    def _wiring(self) -> "S3Wiring":
        from pawtag.app.s3_wiring import S3Wiring

        return S3Wiring(self._settings, self._s3_tuning)

    @cached_property
    def _objects(self) -> "Objects":
        return self._wiring.build_objects()


def _note_owed(found: Explanation, database: StateDatabase) -> Explanation:
    """Add to the reason that state.db has a note: the object still needs a record, and no event will name it."""
    reasons = find_owed(database, found.uri)
    if not reasons:
        return found
    text = ", ".join(f"{reason} {at}" for reason, at in reasons)
    return replace(found, reason=f"{found.reason} It still waits for a new record ({text}).")
