"""What a scan of a bucket costs. Pure.

AWS's list prices of S3 Standard in us-east-1, in dollars; another region costs up to twice as much, another store
mostly nothing. PutObjectTagging is priced as a PUT, GetObjectTagging as a GET.
"""

from dataclasses import dataclass

LIST_USD = PUT_USD = 0.005 / 1000
GET_USD = 0.0004 / 1000
TAG_MONTH_USD = 0.01 / 10_000
TAGS_PER_PHOTO = 4  # species, coat, score, fingerprint
KEYS_PER_LIST = 1000
MAX_READS_PER_PHOTO = 6


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The most requests that a scan makes: a list for each thousand keys, six reads and a write for each photo."""

    keys: int
    photos: int

    @property
    def lists(self) -> int:
        """Requests that list."""
        return -(-self.keys // KEYS_PER_LIST)

    @property
    def reads(self) -> int:
        """GET requests. For each photo: tags and body; with tags of others, the tags three more times; a sidecar."""
        return MAX_READS_PER_PHOTO * self.photos

    @property
    def cost_usd(self) -> float:
        """Dollars if every photo is new."""
        return self.lists * LIST_USD + self.reads * GET_USD + self.photos * PUT_USD

    @property
    def cost_current_usd(self) -> float:
        """Dollars if every photo is current."""
        return self.lists * LIST_USD + self.photos * GET_USD

    @property
    def tags_usd_per_month(self) -> float:
        """Dollars a month for the storage of the tags."""
        return self.photos * TAGS_PER_PHOTO * TAG_MONTH_USD

    def hours(self, photos_per_s: float) -> float:
        """Hours that one daemon needs at that rate."""
        return self.photos / photos_per_s / 3600
