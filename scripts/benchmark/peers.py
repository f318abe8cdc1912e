"""A peer tags a folder in its own environment.

    python scripts/benchmark/peers.py NAME CHECKPOINT PHOTOS

Each takes the same weights, batches of eight, and the prompts' vectors once. Prints photos a second.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROMPTS = [f"a photo of a {label}" for label in ("cat", "dog", "hamster", "rabbit", "bird", "fish", "turtle", "snake")]
BATCH = 8
Embed = Callable[[list[Path]], Any]


def main() -> None:
    """Measure the peer named."""
    name, checkpoint, folder = sys.argv[1:]
    embed = PEERS[name](checkpoint)
    photos = sorted(Path(folder).iterdir())
    embed(photos[:BATCH])
    started_s = time.perf_counter()
    for batch in split(photos):
        embed(batch)
    print(len(photos) / (time.perf_counter() - started_s))


def split(photos: list[Path]) -> Iterator[list[Path]]:
    """The batches."""
    for first in range(0, len(photos), BATCH):
        yield photos[first : first + BATCH]


def load_sentence_transformers(checkpoint: str) -> Embed:
    """sentence-transformers, whose CLIPModel reads transformers' checkpoints."""
    from PIL import Image
    from sentence_transformers import SentenceTransformer, models

    model = SentenceTransformer(modules=[models.CLIPModel(checkpoint)], device="cpu")
    prompts = model.encode(PROMPTS, normalize_embeddings=True)

    def embed(photos: list[Path]) -> Any:
        pictures = [Image.open(photo).convert("RGB") for photo in photos]
        return model.encode(pictures, batch_size=BATCH, normalize_embeddings=True) @ prompts.T

    return embed


PEERS = {"sentence-transformers": load_sentence_transformers}

if __name__ == "__main__":
    main()
