"""Every family of image-text models: its logits are those of its own forward pass, its pixels its own processor's."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image as pillow
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.labels import Labels, Thresholds
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.engines import torch as torch_engine
from pawtag.inference.scoring import embed_words, list_prompts, score_labels
from support.checkpoints import load_engine
from support.families import FAMILIES, character_tokenizer, checkpoint_of

TEXTS = ["a photo of a cat", "a dog", "some other thing"]
# The family's own way to prepare prompts, as its processor or its paper has it.
PADDED_TO_FULL = {"siglip", "siglip2"}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request, tmp_path_factory):
    """The family's name and a small random checkpoint of it."""
    return request.param, checkpoint_of(request.param, tmp_path_factory.mktemp(request.param))


def reference(name, folder, pictures, texts):
    """transformers' own logits (pictures, texts), from its own processor, tokenizer and forward pass."""
    model = AutoModelForZeroShotImageClassification.from_pretrained(folder).eval()
    how = {"padding": "max_length", "max_length": 48} if name in PADDED_TO_FULL else {"padding": True}
    tokens = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", **how)
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures, return_tensors="pt")
    with torch.inference_mode():
        return model(**tokens, **inputs).logits_per_image.numpy()


def test_every_supported_family_has_a_test_checkpoint():
    """A new family comes with its checkpoint."""
    assert set(FAMILIES) == set(torch_engine.FAMILIES)


def test_logits_are_those_of_the_familys_own_forward_pass(family, chelsea):
    """From a real photo and prompts, to 1e-4: preprocessing, padding, scale, bias."""
    name, folder = family
    data = chelsea.read_bytes()
    model = load_engine(folder)
    image = decode(data, ImageLimits(10**7, 10**7), 10**4)
    turned = image.rgb.transpose(1, 0, 2).copy()
    embeddings = model.embed([preprocess(image, model.spec), preprocess(image.__class__(turned, 0, 0, ""), model.spec)])
    ours = model.scale * embeddings @ model.embed_text(TEXTS).T + model.bias
    theirs = reference(name, folder, [pillow.fromarray(image.rgb), pillow.fromarray(turned)], TEXTS)
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.ptp(theirs) > 1e-3, "logits that do not differ would agree with anything"


def test_scores_follow_the_labels_for_every_family(family):
    """Each group's scores add up to 1, whatever scale and bias are."""
    _, folder = family
    model = load_engine(folder)
    labels = Labels.model_validate(
        {"templates": ["a {}"], "groups": {"species": {"labels": {"cat": ["cat", "kitten"], "none": ["sea"]}}}}
    )
    vocabulary = embed_words(labels, model.embed_text(list_prompts(labels)))
    found = score_labels(model.embed_text(["a cat"])[0], vocabulary, model, Thresholds())
    assert sum(found.scores["species"].values()) == pytest.approx(1, abs=1e-3)


def test_M09_a_prompt_longer_than_the_text_tower_is_an_error(family):
    """Never cut in silence."""
    with pytest.raises(ConfigError, match="this model reads"):
        load_engine(family[1]).embed_text(["x" * 60])


def test_M02_a_missing_tensor_is_refused_in_every_family(family, tmp_path):
    """transformers would make one up."""
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(family[1], tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.startswith("text_model") and key.endswith("weight"))
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="lacks the tensors"):
        load_engine(folder)


@pytest.mark.parametrize("family_of_text", ["clip", "clipseg", "metaclip_2"])
def test_a_swapped_tokenizer_is_refused(family_of_text, tmp_path):
    """One without the end token that the text tower reads at; one with tokens that it does not know."""
    folder = checkpoint_of(family_of_text, tmp_path)
    character_tokenizer(folder, ends=False)
    with pytest.raises(ModelError, match="trained with another tokenizer"):
        load_engine(folder).embed_text(["a cat"])


def test_a_tokenizer_with_unknown_tokens_is_refused(tmp_path):
    """It is of another, larger model."""
    folder = checkpoint_of("siglip", tmp_path)
    character_tokenizer(folder, more=1000)
    with pytest.raises(ModelError, match="trained with another tokenizer"):
        load_engine(folder).embed_text(["a cat"])
