"""Small random checkpoints in the hub's layout, made here with a fixed seed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from pawtag.domain.records import ModelInfo
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.engines.torch import TorchEngine

WORDS = ["a", "photo", "of", "red", "green", "blue", "cat", "dog", "pet", "my", "close-up", "something", "that", "is"]


def tiny_clip(folder: Path, *, full_size: bool = False) -> Path:
    """A CLIP checkpoint of random weights; `full_size`: as large as ViT-B/32."""
    torch.manual_seed(7)
    tokenizer = clip_tokenizer(folder)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = CLIPConfig(
        text_config=text | ({} if full_size else {**small, "max_position_embeddings": 32}),
        vision_config={} if full_size else {**small, "image_size": 32, "patch_size": 8},
        projection_dim=512 if full_size else 16,
    )
    model = CLIPModel(config)
    (model.half() if full_size else model).save_pretrained(folder)
    side = 224 if full_size else 32
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(
        folder
    )
    return folder


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with single characters for a vocabulary: every text can be written in it."""
    symbols = [chr(code) for code in range(33, 127)]
    pieces = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def load_engine(folder: Path) -> TorchEngine:
    """The checkpoint's engine, on one thread of the CPU."""
    return TorchEngine(Checkpoint(folder, ModelInfo(id="tiny")), "cpu", 1)


def change_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Apply `change` to the checkpoint's tensors, by name."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
