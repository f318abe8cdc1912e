"""The faults that keep photos from being tagged now, each until a photo that it has hit succeeds. Bounded."""

MAX_PHOTOS = 10_000


class Faults:
    """What was said of each photo that is retried. Faults of other photos stay when one succeeds."""

    def __init__(self) -> None:
        """None yet."""
        self._by_uri: dict[str, str] = {}

    @property
    def first(self) -> str | None:
        """The oldest fault; None without any."""
        return next(iter(self._by_uri.values()), None)

    def note(self, uri: str, fault: str) -> bool:
        """A photo is retried because of it; whether no other photo was."""
        is_new = fault not in self._by_uri.values()
        if uri in self._by_uri or len(self._by_uri) < MAX_PHOTOS:
            self._by_uri[uri] = fault
        return is_new

    def clear(self, uri: str) -> None:
        """The photo is done: what was said of it is over, for the others of which it was said, too."""
        fault = self._by_uri.pop(uri, None)
        if fault is not None:
            self._by_uri = {other: text for other, text in self._by_uri.items() if text != fault}
