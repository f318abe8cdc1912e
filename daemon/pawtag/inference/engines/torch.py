"""The reference engine: a checkpoint loaded by transformers, run by torch."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.records import Floats, Patches
from pawtag.inference.checkpoint import Checkpoint, combined
from pawtag.inference.preprocessing import patched, pixel_spec


class Family(NamedTuple):
    """How a family turns a cosine into its logit, scale x cosine + bias, and what its text tower was trained with."""

    scale: Callable[[Any], Any] = lambda model: model.logit_scale.exp()
    bias: Callable[[Any], Any] = lambda _: torch.zeros(())
    is_padded_to_full: bool = False
    """Prompts are padded to the longest text, and the padding is read (SigLIP)."""
    reads_at_end: bool = False
    """The text's vector is that of its end token."""
    knows_old_end: bool = False
    """An end token of 2 in the configuration is an old mistake: transformers takes the largest token for the end."""


CLIP = Family(reads_at_end=True, knows_old_end=True)
SIGLIP = Family(bias=lambda model: model.logit_bias, is_padded_to_full=True)
# By config.json's model_type. Each family's logits are compared with its own forward pass in tests/unit/test_families.py.
FAMILIES = {
    "clip": CLIP,
    "siglip": SIGLIP,
    "siglip2": SIGLIP,
    "align": Family(scale=lambda model: 1 / model.temperature),
    "altclip": Family(),
    "chinese_clip": Family(),
    "clipseg": CLIP,
    "metaclip_2": Family(reads_at_end=True),
}
TEXTS_AT_ONCE = 64
OLD_END = 2
FROM_PAD_ON = ("altclip_text_model",)  # RoBERTa numbers its positions from the padding token's number on


class TorchModel:
    """An image-text model in memory; see ports.Model."""

    def __init__(self, checkpoint: Checkpoint, device: str, threads: int) -> None:
        """Load `checkpoint` onto `device` ("auto" takes a GPU where there is one).

        Raises ModelError for a family that is not known, and for tensors that are missing or misshapen.
        """
        torch.set_num_threads(threads)
        _quieten()
        digests = checkpoint.digests()
        self.digest = combined(digests)
        self.weights_digest = combined({name: digests[name] for name in checkpoint.weights})
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
        self.scale, self.bias = (
            float(number(self._model).detach()) for number in (self._family.scale, self._family.bias)
        )
        self._longest_text = _longest_text(self._model.config, self._tokenizer)
        self.engine = f"torch {torch.__version__} on {self._device.type}"

    @torch.inference_mode()
    def embed(self, batch: Sequence[Floats]) -> Floats:
        """Unit vectors (N, D) for N inputs (3, H, W)."""
        resize = self.spec.resize
        arrays = patched(batch, resize) if isinstance(resize, Patches) else {"pixel_values": np.stack(batch)}
        inputs = {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        return _unit(self._model.get_image_features(**inputs).pooler_output)

    @torch.inference_mode()
    def embed_text(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors (N, D) for N prompts. Raises ConfigError for one that the text tower would cut."""
        for prompt, tokens in zip(prompts, self._tokenizer(list(prompts))["input_ids"], strict=True):
            if len(tokens) > self._longest_text:
                raise ConfigError(
                    f"The prompt {prompt!r} has {len(tokens)} tokens; this model reads {self._longest_text}."
                )
            if not self._are_readable(tokens):
                raise ModelError("The model's tokenizer is not the one that it was trained with.")
        parts = [prompts[first : first + TEXTS_AT_ONCE] for first in range(0, len(prompts), TEXTS_AT_ONCE)]
        return np.concatenate([self._embed_texts(part) for part in parts])

    def _are_readable(self, tokens: list[int]) -> bool:
        """Whether the text tower knows these tokens, and finds their end where it reads the text's meaning off."""
        text = self._model.config.text_config
        if max(tokens, default=0) >= text.vocab_size:
            return False
        if not self._family.reads_at_end:
            return True
        if self._family.knows_old_end and text.eos_token_id == OLD_END:
            return tokens[-1] == max(tokens)
        return text.eos_token_id in tokens

    def _embed_texts(self, prompts: Sequence[str]) -> Floats:
        padding = {"padding": "max_length", "max_length": self._longest_text}
        how = padding if self._family.is_padded_to_full else {"padding": True}
        tokens = self._tokenizer(list(prompts), return_tensors="pt", **how).to(self._device)
        return _unit(self._model.get_text_features(**tokens).pooler_output)


def _family(checkpoint: Checkpoint) -> Family:
    name = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False).model_type
    if name not in FAMILIES:
        raise ModelError(
            f"The model in {checkpoint.folder} is of the family {name!r}; pawtag knows {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def _longest_text(config: Any, tokenizer: Any) -> int:
    """How many tokens the text tower reads."""
    text = config.text_config
    positions = text.max_position_embeddings
    if text.model_type in FROM_PAD_ON:
        positions -= text.pad_token_id + 1
    return int(min(positions, tokenizer.model_max_length))


def _load(checkpoint: Checkpoint) -> torch.nn.Module:
    """The model in float32; transformers would fill missing tensors with random numbers and only warn."""
    model, report = AutoModelForZeroShotImageClassification.from_pretrained(
        checkpoint.folder,
        local_files_only=True,
        use_safetensors=not checkpoint.is_pickled,
        weights_only=True,
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
