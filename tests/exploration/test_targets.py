"""The targets' likelihoods and spreads by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import CATEGORICAL, IMAGE, VECTOR, tiny_batch, tiny_config, tiny_spec
from waker.exploration.ensemble import make_target
from waker.exploration.targets import Target
from waker.model.distributions import symlog
from waker.model.world_model import WorldModel

MIXED = tiny_spec(kinds=("vector", "categorical"))


def target_of(name: str, kinds: tuple[str, ...] = ("vector", "categorical"), recipe: str = "tiny") -> Target:
    model = WorldModel(tiny_spec(kinds=kinds), tiny_config(recipe).model)
    return make_target(model, name)


def logits_of(*certain: int) -> Tensor:
    """Flat logits of three heads for CATEGORICAL, sure of 0 everywhere but of ``certain[i]`` in head i's first."""
    rows = []
    for first in certain:
        parts = [torch.full((c,), -60.0) for c in CATEGORICAL.classes]
        for part, at in zip(parts, (first, 0, 0), strict=True):
            part[at] = 60.0
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def test_latents_that_heads_are_certain_of() -> None:
    """Heads certain of different classes disagree by the entropy of the mixture; heads that agree, by nothing."""
    sure = torch.full((3, 1, 3, 4), -60.0)
    sure[:, 0, :, 0] = 60.0
    sure[1, 0, 1] = sure[1, 0, 1].roll(1)  # one head of three differs on the second latent
    sure[:, 0, 2] = 0.0  # all heads ignorant of the third: no disagreement
    expected = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / 3
    assert target_of("latent").disagreement(sure.flatten(-2)).item() == pytest.approx(expected, abs=1e-6)


def test_observations_weigh_divergences_and_deviations_by_their_keys() -> None:
    target = target_of("observation")
    numbers = torch.tensor([[0.0] * 6, [1.0] * 6, [2.0] * 6])
    prediction = torch.cat([numbers, logits_of(0, 0, 4)], -1).unsqueeze(1)  # (3, 1, 6 + 10)
    divergence = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))  # of one variable of three
    deviation = math.sqrt(2 / 3)
    whole = VECTOR.weight * 6 + CATEGORICAL.weight * 3
    expected = (VECTOR.weight * 6 * deviation + CATEGORICAL.weight * divergence) / whole
    assert target.disagreement(prediction).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("recipe", ["tiny", "paper"])
def test_observations_are_predicted_in_the_model_s_scale(recipe: str) -> None:
    """Vectors through symlog where the preset's model sees them so, and cross-entropies with the key's weight."""
    target = target_of("observation", recipe=recipe)
    batch = {name: value[:2, :3] for name, value in tiny_batch(MIXED).items()}
    prediction = torch.randn(3, 4, target.dim)
    model = WorldModel(MIXED, tiny_config(recipe).model)
    found = target.nll(prediction, model.observe(batch), batch)
    assert found.shape == (3, 4)
    for head in range(3):
        for n, (b, t) in enumerate([(0, 1), (0, 2), (1, 1), (1, 2)]):
            truth = batch["vector"][b, t].flatten()
            truth = symlog(truth) if model.config.symlog else truth
            loss = (0.5 * (prediction[head, n, :6] - truth).square() + 0.5 * math.log(2 * math.pi)).sum().item()
            for logits, value in zip(prediction[head, n, 6:].split([5, 2, 3]), batch["cells"][b, t], strict=True):
                loss -= CATEGORICAL.weight * torch.log_softmax(logits, -1)[int(value)].item()
            assert found[head, n].item() == pytest.approx(loss, rel=1e-5)


def test_pictures_are_predicted_as_the_encoder_embeds_them() -> None:
    spec = tiny_spec(kinds=("categorical", "image"))
    model = WorldModel(spec, tiny_config().model)
    target, batch = make_target(model, "observation"), tiny_batch(spec)
    size = model.encoder.image_sizes["image"]
    posterior = model.observe(batch)
    embedding = model.encoder.images["image"](batch["image"][:, 1:].flatten(0, 1))  # (15, size)
    variables = torch.zeros(2, 15, 10)
    prediction = torch.cat([variables, torch.stack([embedding, embedding + 1.0])], -1)
    losses = target.nll(prediction, posterior, batch).detach()
    # Off by one everywhere costs ½ for each entry, with the key's weight.
    torch.testing.assert_close(losses[1] - losses[0], torch.full((15,), IMAGE.weight * 0.5 * size))
    assert not losses.isnan().any()
    whole = IMAGE.weight * size + CATEGORICAL.weight * 3
    torch.testing.assert_close(
        target.disagreement(prediction).detach(), torch.full((15,), IMAGE.weight * size * 0.5 / whole)
    )


def test_the_divergence_and_its_derivative_are_the_plain_formula_s() -> None:
    """Ragged variables in double precision: each one's mixture entropy less the members' mean entropy, one by one."""
    target = target_of("observation", kinds=("categorical",))
    prediction = torch.randn(4, 6, target.dim, dtype=torch.float64, requires_grad=True)
    expected = torch.zeros(6, dtype=torch.float64)
    for logits in prediction.split(CATEGORICAL.classes, -1):
        probs = logits.softmax(-1)  # (4, 6, C)
        mixture = torch.distributions.Categorical(probs=probs.mean(0)).entropy()
        expected = expected + mixture - torch.distributions.Categorical(probs=probs).entropy().mean(0)
    expected = expected / len(CATEGORICAL.classes)
    found = target.disagreement(prediction)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    weights = torch.randn(6, dtype=torch.float64)
    (mine,) = torch.autograd.grad((found * weights).sum(), prediction)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), prediction)
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
