"""What bringing a bucket up to date costs. Pure.

AWS's list prices of S3 Standard in us-east-1, in dollars; another region costs up to twice as much, another store
mostly nothing. PutObjectTagging is priced as a PUT, GetObjectTagging as a GET.
"""

from dataclasses import dataclass

LIST_USD = PUT_USD = 0.005 / 1000
GET_USD = 0.0004 / 1000
TAG_MONTH_USD = 0.01 / 10_000
TAGS_PER_PHOTO = 4  # species, coat, score, by
KEYS_PER_LIST = 1000
MAX_READS_PER_PHOTO = 6


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """At most so many requests: a list for each thousand keys, and for each photo six reads and a write."""

    keys: int
    photos: int

    @property
    def lists(self) -> int:
        """Requests that list."""
        return -(-self.keys // KEYS_PER_LIST)

    @property
    def reads(self) -> int:
        """Of a photo: its tags, its body, and where others have tags, those three times more and a look beside it."""
        return MAX_READS_PER_PHOTO * self.photos

    @property
    def price(self) -> float:
        """Dollars, where every photo is new."""
        return self.lists * LIST_USD + self.reads * GET_USD + self.photos * PUT_USD

    @property
    def price_current(self) -> float:
        """Dollars, where every photo is up to date."""
        return self.lists * LIST_USD + self.photos * GET_USD

    @property
    def tags_a_month(self) -> float:
        """Dollars a month for keeping the tags."""
        return self.photos * TAGS_PER_PHOTO * TAG_MONTH_USD

    def hours(self, photos_per_s: float) -> float:
        """How long one daemon takes at that rate."""
        return self.photos / photos_per_s / 3600
