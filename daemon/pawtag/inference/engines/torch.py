"""The reference engine: a checkpoint loaded by transformers, run by torch."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.pictures import Floats, Patches, Pixels
from pawtag.inference.checkpoint import Checkpoint, combine_digests
from pawtag.inference.facts import ModelFacts
from pawtag.inference.preprocessing import normalise, pack_patches, parse_pixel_spec


class Family(NamedTuple):
    """How a family turns a cosine into its logit, scale x cosine + bias, and what its text tower was trained with."""

    scale: Callable[[Any], Any] = lambda model: model.logit_scale.exp()
    bias: Callable[[Any], Any] = lambda _: torch.zeros(())
    pads_to_max: bool = False
    """Prompts are padded to the longest text, and the padding is read (SigLIP)."""
    pools_end_token: bool = False
    """The text's vector is that of its end token."""
    accepts_legacy_end: bool = False
    """Old configurations name 2 as the end token by mistake; then transformers takes the largest token as the end."""


CLIP = Family(pools_end_token=True, accepts_legacy_end=True)
SIGLIP = Family(bias=lambda model: model.logit_bias, pads_to_max=True)
# By config.json's model_type. Each family's logits are compared with its own forward pass in tests/unit/inference/engines/test_torch.py.
FAMILIES = {
    "clip": CLIP,
    "siglip": SIGLIP,
    "siglip2": SIGLIP,
    "align": Family(scale=lambda model: 1 / model.temperature),
    "altclip": Family(),
    "chinese_clip": Family(),
    "clipseg": CLIP,
    "metaclip_2": Family(pools_end_token=True),
}
TEXT_BATCH_SIZE = 64
# On a CPU, a batch is hardly faster than its inputs one by one, and an interactive request must wait for it.
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 4, 64
LEGACY_END_TOKEN = 2
OFFSET_POSITION_FAMILIES = ("altclip_text_model",)  # RoBERTa's position numbers begin after the padding token's number


class TorchEngine:
    """An image-text model in memory; see ports.Engine."""

    def __init__(self, checkpoint: Checkpoint, device: str, threads: int) -> None:
        """Load `checkpoint` onto `device` ("auto" takes a GPU where there is one).

        Raises ModelError for a family that is not known, and for tensors that are missing or misshapen.
        """
        torch.set_num_threads(threads)
        _silence_transformers()
        digests = checkpoint.read_digests()
        try:
            self._device = torch.device(_choose_device(device))
            self._family = _detect_family(checkpoint)
            self._model = _load(checkpoint).to(self._device)
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
            processor = AutoImageProcessor.from_pretrained(checkpoint.folder, local_files_only=True, backend="pil")
        except ModelError:
            raise
        except Exception as error:  # a damaged checkpoint makes its readers raise anything
            raise ModelError(f"The model in {checkpoint.folder} cannot be loaded: {_first_line(error)}") from error
        self.digest = combine_digests(digests)
        self.weights_digest = combine_digests({name: digests[name] for name in checkpoint.weights})
        self.spec = parse_pixel_spec(processor.to_dict())
        self.scale, self.bias = (
            float(number(self._model).detach()) for number in (self._family.scale, self._family.bias)
        )
        self.runs_on_gpu = self._device.type != "cpu"
        self.max_batch = GPU_BATCH_SIZE if self.runs_on_gpu else CPU_BATCH_SIZE
        self._dtype = _choose_dtype(self._device)
        self._max_text_tokens = _max_text_tokens(self._model.config, self._tokenizer)
        self.description = (
            f"torch {torch.__version__} on {self._device.type}, {str(self._dtype).removeprefix('torch.')}"
        )

    @property
    def facts(self) -> ModelFacts:
        """What another engine needs to know of the checkpoint."""
        return ModelFacts(self.digest, self.weights_digest, self.spec, self.scale, self.bias)

    def build_tower(self) -> tuple[torch.nn.Module, torch.Tensor]:
        """The vision tower and an example input. It maps inputs (N, 3, H, W) to unnormalised embeddings (N, D).

        Raises ModelError for a checkpoint whose inputs have no fixed size.
        """
        size = self.spec.crop or self.spec.resize
        if not isinstance(size, tuple):
            raise ModelError("Its inputs have no fixed size.")
        vision = getattr(self._model, "vision_model", None)
        if vision is not None and isinstance(getattr(vision, "pooler", None), torch.nn.AvgPool2d):
            # ALIGN's pooling window is larger than its feature map, which OpenVINO refuses. This mean is the same.
            vision.pooler = torch.nn.AdaptiveAvgPool2d(1)
        return _VisionTower(self._model).eval(), torch.zeros(2, 3, *size)

    @torch.inference_mode()
    def embed(self, batch: Sequence[Pixels]) -> Floats:
        """Unit vectors (N, D) for N inputs (H, W, 3)."""
        resize, pictures = self.spec.resize, [normalise(pixels, self.spec) for pixels in batch]
        arrays = pack_patches(pictures, resize) if isinstance(resize, Patches) else {"pixel_values": np.stack(pictures)}
        inputs = {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            return _normalise(self._model.get_image_features(**inputs).pooler_output)

    @torch.inference_mode()
    def embed_text(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors (N, D) for N prompts. Raises ConfigError for a prompt that the text tower would truncate."""
        tokenised = self._tokenizer(list(prompts))["input_ids"]
        self._check_tokens(prompts, tokenised)
        order = sorted(range(len(prompts)), key=lambda number: len(tokenised[number]))  # so that little is padding
        parts = [order[first : first + TEXT_BATCH_SIZE] for first in range(0, len(order), TEXT_BATCH_SIZE)]
        found = np.concatenate([self._embed_texts([prompts[number] for number in part]) for part in parts])
        return found[np.argsort(order)]

    def _check_tokens(self, prompts: Sequence[str], tokenised: Sequence[list[int]]) -> None:
        for prompt, tokens in zip(prompts, tokenised, strict=True):
            if len(tokens) > self._max_text_tokens:
                raise ConfigError(
                    f"The prompt {prompt!r} has {len(tokens)} tokens; this model reads {self._max_text_tokens}."
                )
            if not self._can_read(tokens):
                raise ModelError("The model was trained with another tokenizer than the one in its folder.")

    def _can_read(self, tokens: list[int]) -> bool:
        """Whether the text tower knows these tokens, and finds the end token, whose vector is that of the text."""
        text = self._model.config.text_config
        if max(tokens, default=0) >= text.vocab_size:
            return False
        if not self._family.pools_end_token:
            return True
        if self._family.accepts_legacy_end and text.eos_token_id == LEGACY_END_TOKEN:
            return tokens[-1] == max(tokens)
        return text.eos_token_id in tokens

    def _embed_texts(self, prompts: Sequence[str]) -> Floats:
        padding = {"padding": "max_length", "max_length": self._max_text_tokens}
        how = padding if self._family.pads_to_max else {"padding": True}
        tokens = self._tokenizer(list(prompts), return_tensors="pt", **how).to(self._device)
        return _normalise(self._model.get_text_features(**tokens).pooler_output)


class _VisionTower(torch.nn.Module):
    """What is converted for other engines."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) of any length."""
        return self._model.get_image_features(pixel_values=pixel_values).pooler_output


def _detect_family(checkpoint: Checkpoint) -> Family:
    name = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False).model_type
    if name not in FAMILIES:
        raise ModelError(
            f"The model in {checkpoint.folder} is of the family {name!r}; pawtag knows {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def _max_text_tokens(config: Any, tokenizer: Any) -> int:
    """How many tokens the text tower reads."""
    text = config.text_config
    positions = text.max_position_embeddings
    if text.model_type in OFFSET_POSITION_FAMILIES:
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


def _normalise(vectors: torch.Tensor) -> Floats:
    return normalize(vectors.float(), dim=1).cpu().numpy()


def _choose_device(device: str) -> str:
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _choose_dtype(device: torch.device) -> torch.dtype:
    """How the vision tower computes: half precision on CUDA, where it is several times faster. Texts stay float32."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def has_gpu() -> bool:
    """Whether torch can use a GPU of this machine."""
    return _choose_device("auto") != "cpu"


def _silence_transformers() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
