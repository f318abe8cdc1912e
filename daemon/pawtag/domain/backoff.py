"""How long to wait before the next try. Pure: the caller waits, and brings the random number."""

from dataclasses import dataclass

MAX_DOUBLINGS = 60  # a float holds it, whatever the first delay


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that begin at `first_s` and double up to `max_s`, spread by `jitter` (0.25: a quarter more or less)."""

    first_s: float
    max_s: float
    jitter: float = 0.0

    def delay_s(self, attempt: int, *, first_s: float | None = None, random_fraction: float = 0.5) -> float:
        """The wait after attempt `attempt`, counted from 0.

        `first_s`: where the fault names a first wait of its own. `random_fraction` (0 to 1) chooses the jitter.
        """
        first_s = self.first_s if first_s is None else first_s
        grown_s = min(self.max_s, first_s * 2.0 ** min(attempt, MAX_DOUBLINGS))
        return grown_s * (1 + self.jitter * (2 * random_fraction - 1))
