"""Make a full-size CLIP ViT-B/32 of seeded random weights with CLIP's own tokenizer: speed does not depend on values.

    python scripts/benchmark/checkpoint.py FOLDER

transformers' `CLIPConfig()` has the sizes of openai/clip-vit-base-patch32. The vocabulary of the tokenizer is a file in
the wheel of open_clip_torch (MIT), which pip downloads.
"""

import gzip
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OPEN_CLIP = "open_clip_torch==3.3.0"
VOCABULARY = "open_clip/bpe_simple_vocab_16e6.txt.gz"
MERGES = 49_152 - 256 - 2  # how many lines of the file CLIP uses


def main() -> None:
    """Make the checkpoint in the folder named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).eval().save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)


def save_tokenizer(folder: Path) -> None:
    """Write CLIP's byte-pair encoding as transformers reads it."""
    lines = read_vocabulary().splitlines()
    merges = lines[1 : MERGES + 1]
    symbols = list(byte_symbols())
    pieces = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(line.split()) for line in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    CLIPTokenizer.from_pretrained(folder, model_max_length=77).save_pretrained(folder)


def read_vocabulary() -> str:
    """The merges of CLIP's byte-pair encoding, a line each, after a line with the version."""
    with tempfile.TemporaryDirectory() as work:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", work, OPEN_CLIP], check=True)
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            return gzip.decompress(wheel.read(VOCABULARY)).decode("utf-8")


def byte_symbols() -> list[str]:
    """A printable character for each byte: the printable Latin-1 ones first, then from U+0100 on (GPT-2's order)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + number) for number in range(len(others)))]


if __name__ == "__main__":
    main()
