"""A small random checkpoint of each family, in the hub's layout, with a tokenizer and an image processor of its own."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from support.checkpoints import tiny_clip

VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**VISION, "max_position_embeddings": 48}
SQUARE = {"image_size": 32, "patch_size": 8}
BERT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SPECIAL = ["<pad>", "<s>", "<unk>", "<mask>", "</s>"]
END_AT_2 = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def character_tokenizer(folder: Path, *, ends: bool = True, more: int = 0, special: list[str] = SPECIAL) -> int:
    """A tokenizer of single characters, after `more` words that nobody uses; the size of its vocabulary."""
    pieces = [*special, *(f"w{number}" for number in range(more)), *(chr(code) for code in range(32, 127))]
    tokenizer = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", special.index("</s>"))]
        )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder)
    return len(pieces)


def pil(name: str, **settings) -> object:
    """An image processor of transformers', the variant that works on Pillow's pictures."""
    return getattr(transformers, name + "Pil", None)(**settings)


def clip(folder: Path) -> None:
    tiny_clip(folder)


def siglip(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.SiglipConfig(
        text_config={**TEXT, "vocab_size": size, "pad_token_id": 0, "projection_size": 32},
        vision_config={**VISION, **SQUARE},
    )
    save(transformers.SiglipModel(config), folder)
    pil("SiglipImageProcessor", size={"height": 32, "width": 32}).save_pretrained(folder)


def siglip2(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.Siglip2Config(
        text_config={**TEXT, "vocab_size": size, "pad_token_id": 0, "projection_size": 32},
        vision_config={**VISION, "patch_size": 8, "num_patches": 16},
    )
    save(transformers.Siglip2Model(config), folder)
    pil("Siglip2ImageProcessor", patch_size=8, max_num_patches=20).save_pretrained(folder)


def align(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.AlignConfig(
        text_config={**BERT, "vocab_size": size, "max_position_embeddings": 48, "pad_token_id": 0},
        vision_config={
            "image_size": 32,
            "hidden_dim": 32,
            "width_coefficient": 0.1,
            "depth_coefficient": 0.1,
        },
        projection_dim=32,
    )
    model = transformers.AlignModel(config)
    for parameter in model.vision_model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter)  # with the usual values, the signal vanishes in so many layers
    save(model, folder)
    pil(
        "EfficientNetImageProcessor",
        size={"height": 40, "width": 40},
        do_center_crop=True,
        crop_size={"height": 32, "width": 32},
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
    ).save_pretrained(folder)


def altclip(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.AltCLIPConfig(
        text_config={
            **BERT,
            "vocab_size": size,
            "max_position_embeddings": 48,
            "pad_token_id": 0,
            "project_dim": 32,
        },
        vision_config={**VISION, **SQUARE},
        projection_dim=32,
    )
    save(transformers.AltCLIPModel(config), folder)
    square_clip_processor(folder)


def chinese_clip(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.ChineseCLIPConfig(
        text_config={**BERT, "vocab_size": size, "max_position_embeddings": 48, "pad_token_id": 0},
        vision_config={**VISION, **SQUARE},
        projection_dim=32,
    )
    save(transformers.ChineseCLIPModel(config), folder)
    pil("ChineseCLIPImageProcessor", size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)


def clipseg(folder: Path) -> None:
    size = character_tokenizer(folder)
    config = transformers.CLIPSegConfig(
        text_config={
            **TEXT,
            "vocab_size": size,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": SPECIAL.index("</s>"),
        },
        vision_config={**VISION, **SQUARE},
        projection_dim=32,
    )
    save(transformers.CLIPSegModel(config), folder)
    pil("ViTImageProcessor", size={"height": 32, "width": 32}).save_pretrained(folder)


def metaclip_2(folder: Path) -> None:
    size = character_tokenizer(folder, special=END_AT_2)  # as in the released checkpoints
    config = transformers.MetaClip2Config(
        text_config={
            **TEXT,
            "vocab_size": size,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={**VISION, **SQUARE},
        projection_dim=32,
    )
    save(transformers.MetaClip2Model(config), folder)
    square_clip_processor(folder)


def square_clip_processor(folder: Path) -> None:
    pil("CLIPImageProcessor", size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def save(model: torch.nn.Module, folder: Path) -> None:
    """Save the model with a scale and a bias that affect the results."""
    with torch.no_grad():
        for name, value in (("logit_scale", 2.5), ("logit_bias", -3.0), ("temperature", 0.2)):
            if hasattr(model, name):
                getattr(model, name).fill_(value)
    model.save_pretrained(folder)


FAMILIES = {
    maker.__name__: maker for maker in (clip, siglip, siglip2, align, altclip, chinese_clip, clipseg, metaclip_2)
}


def checkpoint_of(family: str, folder: Path) -> Path:
    """The folder, filled."""
    torch.manual_seed(11)
    FAMILIES[family](folder)
    return folder
