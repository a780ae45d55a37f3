"""The likelihood of every kind of key by hand, and predictions in the observation's own terms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.helpers.tiny_learner import ALL_KINDS, IMAGE, tiny_batch, tiny_config, tiny_spec
from waker.errors import UserError
from waker.model.decoder import Decoder, weighted
from waker.model.distributions import symexp, symlog
from waker.model.pictures import ImageDecoder

CONFIG = tiny_config("paper").model
SPEC = tiny_spec(kinds=ALL_KINDS)


def decoder(squash: bool = False) -> Decoder:
    return Decoder(SPEC.observation, replace(CONFIG, symlog=squash), 7)


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_outputs_have_the_shapes_of_their_keys(norm: Any) -> None:
    out = Decoder(SPEC.observation, replace(CONFIG, norm=norm), 7)(torch.randn(3, 6, 7))
    assert {name: tuple(x.shape) for name, x in out.items()} == {
        "image": (3, 6, 10, 10, 3),
        "vector": (3, 6, 6),
        "cells": (3, 6, 10),
    }


def test_an_image_decoder_is_its_transposed_convolutions() -> None:
    image = ImageDecoder(IMAGE, CONFIG, 7)
    feature = torch.randn(2, 7)
    first, second = image.convs
    x = torch.nn.functional.linear(feature, image.project.weight, image.project.bias)[..., None, None]
    x = torch.nn.functional.elu(torch.nn.functional.conv_transpose2d(x, first.weight, first.bias, stride=2))
    x = torch.nn.functional.conv_transpose2d(x, second.weight, second.bias, stride=2)
    torch.testing.assert_close(image(feature), x.permute(0, 2, 3, 1))


def test_pictures_the_kernels_cannot_make_are_refused() -> None:
    with pytest.raises(UserError, match=r"'image' is 12×10, but model\.decoder_kernels \(4, 4\) make 10×10"):
        ImageDecoder(replace(IMAGE, shape=(12, 10, 3)), CONFIG, 7)


@pytest.mark.parametrize("squash", [False, True])
def test_nll_of_every_key_by_hand(squash: bool) -> None:
    model, batch = decoder(squash), tiny_batch(SPEC)
    decoded = model(torch.randn(3, 6, 7))
    losses = model.nll(decoded, batch)
    constant = 0.5 * math.log(2.0 * math.pi)
    picture = batch["image"].float() / 255.0 - 0.5
    image = (0.5 * (decoded["image"] - picture) ** 2 + constant).sum((-1, -2, -3))
    vector = batch["vector"].flatten(-2)
    numbers = (0.5 * (decoded["vector"] - (symlog(vector) if squash else vector)) ** 2 + constant).sum(-1)
    torch.testing.assert_close(losses["image"], image)
    torch.testing.assert_close(losses["vector"], numbers)
    cells = torch.zeros(3, 6)
    for v, logits in enumerate(decoded["cells"].split((5, 2, 3), -1)):
        cells -= torch.log_softmax(logits, -1).gather(-1, batch["cells"][..., v : v + 1].long()).squeeze(-1)
    torch.testing.assert_close(losses["cells"], cells)


def test_the_loss_weighs_keys_and_averages_over_time_and_batch() -> None:
    losses = {k.name: torch.full((3, 6), float(i)) for i, k in enumerate(SPEC.observation, start=1)}
    # Weights 0.5, 1 and 2.
    assert weighted(losses, SPEC.observation).item() == pytest.approx(0.5 * 1.0 + 1.0 * 2.0 + 2.0 * 3.0)


def test_predictions_are_in_the_observation_s_terms() -> None:
    model = decoder(squash=True)
    decoded = {
        "image": torch.tensor([-0.7, -0.5, 0.1, 0.6]).view(1, 1, 2, 2),
        "vector": torch.full((1, 6), 1.5),
        "cells": torch.zeros(1, 10),
    }
    predicted = model.predict(decoded)
    torch.testing.assert_close(predicted["image"].flatten(), torch.tensor([0.0, 0.0, 0.6, 1.0]))
    torch.testing.assert_close(predicted["vector"], symexp(torch.full((1, 6), 1.5)))
    expected = torch.tensor([[0.2] * 5, [0.5, 0.5, 0, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0]])
    torch.testing.assert_close(predicted["cells"][0], expected)


def test_what_is_seen_are_probabilities_and_vectors_and_no_pictures() -> None:
    model, feature = decoder(), torch.randn(4, 7)
    decoded = model(feature)
    cells = model.predict(decoded)["cells"].flatten(-2)  # three variables of at most five classes
    assert model.seen_dim == 6 + 15
    torch.testing.assert_close(model.seen(feature), torch.cat([decoded["vector"], cells], -1))
    assert Decoder((IMAGE,), CONFIG, 7).seen_dim == 0
