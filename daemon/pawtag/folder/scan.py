"""A scan: the photos below a folder that need a record. It skips photos that the last scan found current."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from pawtag.domain.document import SUFFIXES
from pawtag.domain.freshness import Verdict
from pawtag.domain.records import PhotoRef
from pawtag.folder.scan_memory import Known, ScanMemory
from pawtag.folder.walk import NOT_A_FILE, FoundPhoto, Walk, find_photo

Judge = Callable[[PhotoRef], Verdict]
FIRST, SECOND = SUFFIXES
CURRENT, PEER = "current", "another-daemon"
# A file that changed less than this time before the scan may change again without a new timestamp.
RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Scan:
    """A stream of the photos in `walk` that need a record. `judge` reads the sidecar and decides.

    `sidecar_folder`: gives the folder of the sidecars for a folder of photos. Without `open_memory` every photo is
    judged. With it, photos that are unchanged since they were current are skipped, unless they are unsettled.
    """

    walk: Walk
    judge: Judge
    sidecar_folder: Callable[[str], str]
    open_memory: Callable[[], ScanMemory] | None = None
    is_unsettled: Callable[[str], bool] = lambda _: False

    def __iter__(self) -> Iterator[FoundPhoto]:
        """Every photo that needs a record, folder by folder. Raises OSError if the root cannot be read."""
        if self.open_memory is None:
            yield from (found for found in self.walk if self._decide(found) is Verdict.NEEDED)
            return
        with closing(self.open_memory()) as memory:
            for folder, entries in self.walk.folders():
                yield from self._judge_changed(folder, entries, memory)
            memory.touch(str(self.walk.root))

    def _judge_changed(
        self, folder: str, entries: list["os.DirEntry[str]"], memory: ScanMemory
    ) -> Iterator[FoundPhoto]:
        before, sidecars = memory.load(folder), os.path.join(self.sidecar_folder(folder), "")  # noqa: PTH118
        known: Known = {}
        for entry in entries:
            if self.walk.is_ended():
                return  # what is known of this folder is not complete
            name = entry.name
            row = before.get(name)
            is_known = row is not None and row == _read_row(entry, sidecars + name + FIRST)
            if is_known and row and not self.is_unsettled(entry.path):
                known[name] = row
                self.walk.skipped[CURRENT] += 1
                continue
            row = _read_row(entry, sidecars + name + FIRST)
            found = self._find(entry.path)
            verdict = self._decide(found) if found else None
            if found and verdict is Verdict.NEEDED:
                yield found
            elif (
                verdict is Verdict.CURRENT
                and row
                and _is_settled(row)
                and not os.path.lexists(sidecars + name + SECOND)
            ):
                known[name] = row
        if known != before:
            memory.store(folder, known)

    def _decide(self, found: FoundPhoto) -> Verdict:
        verdict = self.judge(found.ref)
        if verdict is not Verdict.NEEDED:
            self.walk.skipped[PEER if verdict is Verdict.FOREIGN else CURRENT] += 1
        return verdict

    def _find(self, path: str) -> FoundPhoto | None:
        found = find_photo(path)
        self.walk.skipped[NOT_A_FILE] += found is None
        return found


def _read_row(entry: "os.DirEntry[str]", sidecar: str) -> tuple[int, int, int, int] | None:
    """What `Known` holds of a photo; None without a sidecar of the plain name."""
    try:
        photo, beside = entry.stat(follow_symlinks=False), os.stat(sidecar)  # noqa: PTH116 - a million times
    except OSError:
        return None
    return photo.st_size, photo.st_mtime_ns, beside.st_size, beside.st_mtime_ns


def _is_settled(row: tuple[int, int, int, int]) -> bool:
    return max(row[1], row[3]) < time.time_ns() - RACY_NS
