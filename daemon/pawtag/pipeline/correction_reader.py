"""Reads corrections, and logs each of their problems once."""

import logging
from collections.abc import Callable

from pawtag.domain.corrections import parse_corrections
from pawtag.domain.labels import Labels
from pawtag.domain.records import Corrections, Json

log = logging.getLogger(__name__)

MAX_SAID = 1000


class CorrectionReader:
    """Parses corrections with the labels of the model that serves. May be called from any thread."""

    def __init__(self, labels: Callable[[], Labels]) -> None:
        """Nothing was said yet."""
        self._labels = labels
        self._said: set[tuple[str, str]] = set()

    def read(self, uri: str, written: Json) -> Corrections | None:
        """The corrections of a photo; None without any, and for what is not understood."""
        if written is None:
            return None
        parsed = parse_corrections(written, self._labels())
        for problem in parsed.problems:
            if (uri, problem) not in self._said and len(self._said) < MAX_SAID:
                self._said.add((uri, problem))
                log.warning("%s: %s", uri, problem, extra={"uri": uri, "reason": problem})
        return parsed.by_group
