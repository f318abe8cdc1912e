"""What a scan tells its user: how many photos of each kind, and each failed one with its reason."""

from collections import Counter
from dataclasses import dataclass, field

from pawtag.config import Settings
from pawtag.domain.outcomes import Outcome, PhotoFailed, PhotoSkipped
from pawtag.domain.records import Failure
from pawtag.log import escape_unprintable
from pawtag.pipeline.observers import Counts, Observers, RetryLog, log_results

MAX_SHOWN = 20


@dataclass(slots=True)
class ScanReport:
    """An observer of one scan."""

    counts: Counts = field(default_factory=Counts)
    failed: dict[str, Failure] = field(default_factory=dict)
    unchanged: dict[str, Failure] = field(default_factory=dict)
    """Photos that failed before this scan, and have not changed since."""
    since: str | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Note one outcome."""
        self.counts(outcome)
        if isinstance(outcome, PhotoFailed) and outcome.record.error:
            self.failed[outcome.ref.uri] = outcome.record.error
        elif isinstance(outcome, PhotoSkipped) and outcome.failure and outcome.ref:
            self.note_unchanged(outcome.ref.uri, outcome.failure, outcome.since)

    def note_unchanged(self, uri: str, failure: Failure, since: str | None) -> None:
        """Note a photo that failed before, and has not changed. A photo that failed in this scan is not noted."""
        if uri in self.failed:
            return
        self.unchanged[uri] = failure
        self.since = min(filter(None, (self.since, since)), default=None)

    @property
    def has_failures(self) -> bool:
        """Whether a photo cannot be tagged."""
        return bool(self.failed or self.unchanged)

    def format(self) -> str:
        """The lines for the user."""
        counts = self.counts
        unsure = f"{counts.unsure} unsure, " if counts.unsure else ""
        lines = [f"{counts.tagged} tagged, {unsure}{counts.no_pet} without a pet, {counts.failed} failed"]
        lines += _list_failures(self.failed)
        if self.unchanged:
            since = f" since {self.since}" if self.since else ""
            lines += [f"{len(self.unchanged)} failed, unchanged{since}:", *_list_failures(self.unchanged)]
        if skipped := format_skipped(counts.skipped):
            lines.append(f"skipped: {skipped}")
        return "\n".join(lines)


def build_scan_observers(settings: Settings, report: ScanReport) -> Observers:
    """The observers of a scan. The report lists the results; the log lists them only at level debug."""
    observers = Observers(report, RetryLog())
    if settings.log.level == "debug":
        observers.add(log_results)
    return observers


def format_skipped(skipped: Counter[str]) -> str:
    """The counts of skipped photos and files by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()) if count)


def _list_failures(failures: dict[str, Failure]) -> list[str]:
    lines = [
        f"  {escape_unprintable(uri)}: {failure.code}{f': {failure.message}' if failure.message else ''}"
        for uri, failure in list(failures.items())[:MAX_SHOWN]
    ]
    return [*lines, f"  and {len(failures) - MAX_SHOWN} more"] if len(failures) > MAX_SHOWN else lines
