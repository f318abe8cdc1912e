"""What bringing a bucket up to date costs. Pure.

AWS's list prices of S3 Standard in us-east-1, in dollars; another region costs up to twice as much, another store
mostly nothing. PutObjectTagging is priced as a PUT, GetObjectTagging as a GET.
"""

from dataclasses import dataclass

PER_LIST = PER_PUT = 0.005 / 1000
PER_GET = 0.0004 / 1000
PER_TAG_MONTH = 0.01 / 10_000
TAGS = 4  # species, coat, score, by
LISTED = 1000
READS = 6


@dataclass(frozen=True, slots=True)
class Estimate:
    """At most so many requests: a list for each thousand keys, and for each photo six reads and a write."""

    keys: int
    photos: int

    @property
    def lists(self) -> int:
        """Requests that list."""
        return -(-self.keys // LISTED)

    @property
    def reads(self) -> int:
        """Of a photo: its tags, its body, and where others have tags, those three times more and a look beside it."""
        return READS * self.photos

    @property
    def price(self) -> float:
        """Dollars, where every photo is new."""
        return self.lists * PER_LIST + self.reads * PER_GET + self.photos * PER_PUT

    @property
    def price_current(self) -> float:
        """Dollars, where every photo is up to date."""
        return self.lists * PER_LIST + self.photos * PER_GET

    @property
    def tags_a_month(self) -> float:
        """Dollars a month for keeping the tags."""
        return self.photos * TAGS * PER_TAG_MONTH

    def hours(self, photos_per_s: float) -> float:
        """How long one daemon takes at that rate."""
        return self.photos / photos_per_s / 3600
