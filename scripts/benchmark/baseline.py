"""The plain service that pawtag is compared with: the whole model, text tower included, for every photo, in float32.

    python scripts/benchmark/baseline.py CHECKPOINT --port 7861       serves POST /tag
    python scripts/benchmark/baseline.py CHECKPOINT --folder PHOTOS   tags a folder in process; prints photos a second

It runs in an environment of its own (scripts/bench.py makes it), on the same torch, transformers and Pillow.
"""

import argparse
import io
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

SPECIES = ["cat", "dog", "hamster", "rabbit", "bird", "fish", "turtle", "snake", "lizard"]
LABELS = [*SPECIES, "long-hair", "medium-hair", "short-hair"]
MIN_SCORE = 0.01


class PlainTagger:
    """The checkpoint as transformers' documentation shows it."""

    def __init__(self, checkpoint: str) -> None:
        """Load it."""
        self.model = AutoModelForZeroShotImageClassification.from_pretrained(checkpoint).eval()
        self.processor = AutoProcessor.from_pretrained(checkpoint)

    def tag(self, data: bytes) -> list[dict[str, Any]]:
        """The labels of one photo, best first, from one softmax over all of them."""
        image = Image.open(io.BytesIO(data)).convert("RGB")
        inputs = self.processor(text=LABELS, images=image, return_tensors="pt", padding=True)
        with torch.no_grad():
            scores = self.model(**inputs).logits_per_image.softmax(dim=1)[0].tolist()
        rows = [{"label": label, "score": score} for label, score in zip(LABELS, scores, strict=True)]
        return sorted((row for row in rows if row["score"] > MIN_SCORE), key=lambda row: -row["score"])


def main() -> None:
    """Serve, or tag a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    tagger = PlainTagger(given.checkpoint)
    if given.folder:
        print(measure_folder(tagger, sorted(given.folder.iterdir())))
    else:
        serve(tagger, given.port)


def measure_folder(tagger: PlainTagger, photos: list[Path]) -> float:
    """Photos a second, after one to warm up."""
    tagger.tag(photos[0].read_bytes())
    started_s = time.perf_counter()
    for photo in photos:
        tagger.tag(photo.read_bytes())
    return len(photos) / (time.perf_counter() - started_s)


def serve(tagger: PlainTagger, port: int) -> None:
    """Answer POST /tag, on the event loop, as such services do."""
    import uvicorn
    from fastapi import FastAPI, File, HTTPException, UploadFile

    app = FastAPI()

    @app.post("/tag")
    async def tag(file: UploadFile = File(...)) -> list[dict[str, Any]]:  # noqa: B008, FAST002 - FastAPI's way
        try:
            return tagger.tag(await file.read())
        except Exception as error:
            raise HTTPException(400, f"no image: {error}") from error

    # By default uvicorn closes connections after five seconds; callers of a slow service would then get no answer.
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_keep_alive=300)


if __name__ == "__main__":
    main()
