"""The reference engine: a checkpoint loaded by transformers, run by torch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pawtag.errors import ConfigError, ModelError
from pawtag.models.checkpoint import Checkpoint
from pawtag.records import Floats, PixelSpec

# Families whose logit is a cosine times one number, and how that number is kept.
SCALES = {
    "clip": lambda model: model.logit_scale.exp(),
    "align": lambda model: 1 / model.temperature,
}
TEXTS_AT_ONCE = 64


class TorchModel:
    """An image-text model in memory; see ports.Model."""

    def __init__(self, checkpoint: Checkpoint, device: str, threads: int) -> None:
        """Load `checkpoint` onto `device` ("auto" takes a GPU where there is one).

        Raises ModelError for a family that is not known, and for tensors that are missing or misshapen.
        """
        torch.set_num_threads(threads)
        _quieten()
        self.digest = checkpoint.digest()
        try:
            self._device = torch.device(_chosen(device))
            self._family = _family(checkpoint)
            self._model = _load(checkpoint).to(self._device)
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
            processor = AutoImageProcessor.from_pretrained(checkpoint.folder, local_files_only=True, backend="pil")
        except ModelError:
            raise
        except Exception as error:  # a damaged checkpoint makes its readers raise anything
            raise ModelError(f"The model in {checkpoint.folder} cannot be loaded: {_first_line(error)}") from error
        self.spec = pixel_spec(processor.to_dict())
        self.scale = float(SCALES[self._family](self._model).detach())
        self.engine = f"torch {torch.__version__} on {self._device.type}"

    @torch.inference_mode()
    def embed(self, batch: Sequence[Floats]) -> Floats:
        """Unit vectors (N, D) for N inputs (3, H, W)."""
        pixels = torch.from_numpy(np.stack(batch)).to(self._device)
        return _unit(self._model.get_image_features(pixel_values=pixels).pooler_output)

    @torch.inference_mode()
    def embed_text(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors (N, D) for N prompts. Raises ConfigError for one that the text tower would cut."""
        longest = self._model.config.text_config.max_position_embeddings
        for prompt, tokens in zip(prompts, self._tokenizer(list(prompts))["input_ids"], strict=True):
            if len(tokens) > longest:
                raise ConfigError(f"The prompt {prompt!r} has {len(tokens)} tokens; this model reads {longest}.")
        parts = [prompts[first : first + TEXTS_AT_ONCE] for first in range(0, len(prompts), TEXTS_AT_ONCE)]
        return np.concatenate([self._embed_texts(part) for part in parts])

    def _embed_texts(self, prompts: Sequence[str]) -> Floats:
        tokens = self._tokenizer(list(prompts), padding=True, return_tensors="pt").to(self._device)
        return _unit(self._model.get_text_features(**tokens).pooler_output)


def pixel_spec(processor: dict[str, Any]) -> PixelSpec:
    """The input that a checkpoint's image processor makes. Raises ModelError for steps that pawtag does not know."""
    odd = [name for name in ("do_pad", "rescale_offset", "include_top") if processor.get(name)]
    if (
        odd
        or not processor.get("do_resize", True)
        or not math.isclose(processor.get("rescale_factor", 1 / 255), 1 / 255)
    ):
        raise ModelError(
            f"The model's image processor has steps that pawtag does not know: {', '.join(odd) or 'scaling'}."
        )
    size, crop = processor["size"], processor.get("crop_size")
    resize = size.get("shortest_edge") or (size["height"], size["width"])
    return PixelSpec(
        resize=resize,
        crop=(crop["height"], crop["width"]) if crop and processor.get("do_center_crop", True) else None,
        resample=int(processor.get("resample", 3)),
        mean=tuple(processor["image_mean"]),
        std=tuple(processor["image_std"]),
    )


def _family(checkpoint: Checkpoint) -> str:
    family = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False).model_type
    if family not in SCALES:
        raise ModelError(
            f"The model in {checkpoint.folder} is of the family {family!r}; pawtag knows {', '.join(SCALES)}."
        )
    return str(family)


def _load(checkpoint: Checkpoint) -> torch.nn.Module:
    """The model in float32; transformers would fill missing tensors with random numbers and only warn."""
    model, report = AutoModelForZeroShotImageClassification.from_pretrained(
        checkpoint.folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    misshapen = [str(entry[0]) if isinstance(entry, tuple) else str(entry) for entry in report["mismatched_keys"]]
    for what, names in (("lacks the tensors", report["missing_keys"]), ("has misshapen tensors", misshapen)):
        if names:
            shown = ", ".join(sorted(names)[:5])
            raise ModelError(f"The model in {checkpoint.folder} {what} {shown} ({len(names)} in all).")
    return model.eval()


def _unit(vectors: torch.Tensor) -> Floats:
    return normalize(vectors.float(), dim=1).cpu().numpy()


def _chosen(device: str) -> str:
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _quieten() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
