"""Preprocessing: the processor's settings as a pixel spec, and NaFlex's patches."""

import numpy as np
import pytest

from pawtag.domain.errors import ModelError
from pawtag.domain.pictures import Patches
from pawtag.inference.preprocessing import pack_patches, parse_pixel_spec

PLAIN = {"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize("odd", [{"do_pad": True}, {"do_resize": False}])
def test_an_unknown_preprocessing_step_is_refused(odd):
    """Leaving it out in silence would give wrong tags."""
    assert parse_pixel_spec(PLAIN).resize == (8, 8)
    with pytest.raises(ModelError, match="does not know"):
        parse_pixel_spec(PLAIN | odd)


def test_the_offset_of_a_rescaling_is_part_of_the_mean():
    """Bytes that become -1 to 1 before they are normalised give the same pixels in one step."""
    spec = parse_pixel_spec(PLAIN | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False})
    assert spec.mean == pytest.approx((0.5,) * 3)
    assert spec.std == pytest.approx((0.5,) * 3)


def test_the_shortest_edge_is_one_number_and_a_size_is_two():
    """The pixel spec keeps which of both the processor means."""
    assert parse_pixel_spec(PLAIN | {"size": {"shortest_edge": 224}}).resize == 224
    assert parse_pixel_spec(PLAIN | {"size": {"height": 4, "width": 6}}).resize == (4, 6)


def test_patches_of_two_shapes_share_a_batch():
    """Each picture fills its own rows; the mask tells which of them count."""
    batch = [np.ones((3, 4, 8), np.float32), np.ones((3, 4, 4), np.float32)]
    packed = pack_patches(batch, Patches(side_px=4, max_count=3))
    assert packed["pixel_values"].shape == (2, 3, 48)
    assert packed["pixel_attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert packed["spatial_shapes"].tolist() == [[1, 2], [1, 1]]
