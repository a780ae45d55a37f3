"""What the encoder sees of every kind of key, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.helpers.tiny_learner import ALL_KINDS, CATEGORICAL, IMAGE, VECTOR, tiny_batch, tiny_config, tiny_spec
from waker.errors import UserError
from waker.machine.kernels import conv_output
from waker.model.distributions import symlog
from waker.model.encoder import Encoder
from waker.model.pictures import ImageEncoder, image_to_float

CONFIG = tiny_config("paper").model


def test_pictures_become_centred_floats() -> None:
    image = torch.tensor([0, 255, 51], dtype=torch.uint8)
    torch.testing.assert_close(image_to_float(image), torch.tensor([-0.5, 0.5, -0.3]))


@pytest.mark.parametrize(("size", "kernels"), [(64, (4, 4, 4, 4)), (10, (4, 4)), (33, (3, 5, 2)), (7, (7,))])
def test_conv_output_is_torch_s_own(size: int, kernels: tuple[int, ...]) -> None:
    x = torch.zeros(1, 1, size, size)
    for kernel in kernels:
        x = torch.nn.functional.conv2d(x, torch.zeros(1, 1, kernel, kernel), stride=2)
    assert conv_output(size, kernels) == x.shape[-1]


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_an_image_encoder_is_its_convolutions_flattened_channel_last(norm: Any) -> None:
    key = replace(IMAGE, shape=(12, 10, 3))
    encoder = ImageEncoder(key, replace(CONFIG, norm=norm, encoder_kernels=(4,)))
    image = torch.randint(256, (2, 12, 10, 3), dtype=torch.uint8)
    conv, scale = encoder.convs[0], encoder.norms[0]
    x = torch.nn.functional.conv2d(image_to_float(image).permute(0, 3, 1, 2), conv.weight, conv.bias, stride=2)
    pixels = torch.nn.functional.elu(scale(x.permute(0, 2, 3, 1)))  # the norm runs over the channels of each pixel
    torch.testing.assert_close(encoder(image), pixels.reshape(2, -1))
    assert encoder.out_features == pixels[0].numel()


def test_an_image_too_small_for_the_kernels_is_refused() -> None:
    with pytest.raises(UserError, match=r"'image': 8×8 is too small for model\.encoder_kernels \(4, 4, 4\)"):
        ImageEncoder(replace(IMAGE, shape=(8, 8, 3)), replace(CONFIG, encoder_kernels=(4, 4, 4)))


@pytest.mark.parametrize("squash", [False, True])
def test_the_embedding_is_images_then_the_mlp_of_flat_keys(squash: bool) -> None:
    spec = tiny_spec(kinds=("vector", "image", "categorical"))
    encoder = Encoder(spec.observation, replace(CONFIG, symlog=squash))
    batch = tiny_batch(spec)
    vector = batch["vector"].flatten(-2)
    onehot = encoder.flat["cells"].entries(batch["cells"])
    flat = torch.cat([symlog(vector) if squash else vector, onehot], -1)
    assert encoder.mlp is not None
    picture = encoder.images["image"](batch["image"].flatten(0, 1)).unflatten(0, (3, 6))
    torch.testing.assert_close(encoder(batch), torch.cat([picture, encoder.mlp(flat)], -1))


@pytest.mark.parametrize("kinds", [("image",), ("vector",), ("categorical",), ALL_KINDS])
def test_leading_axes_are_only_carried_along(kinds: tuple[str, ...]) -> None:
    spec = tiny_spec(kinds=kinds)
    encoder = Encoder(spec.observation, tiny_config().model)
    batch = {k.name: v for k, v in ((k, tiny_batch(spec)[k.name]) for k in spec.observation)}
    embed = encoder(batch)
    assert embed.shape == (3, 6, encoder.out_features)
    flat = encoder({name: value.flatten(0, 1) for name, value in batch.items()})
    torch.testing.assert_close(embed.flatten(0, 1), flat)


def test_a_scalar_observation_is_a_vector_of_one() -> None:
    encoder = Encoder((replace(VECTOR, shape=()),), tiny_config().model)
    assert encoder({"vector": torch.randn(5, 2)}).shape == (5, 2, encoder.out_features)


def test_sizes_of_keys() -> None:
    assert [k.size for k in (IMAGE, VECTOR, CATEGORICAL)] == [300, 6, 10]
