"""``check_explorer``: ours pass, and each fault is told by what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.pages import ROOT
from waker.errors import UserError
from waker.exploration.api import Explorer
from waker.exploration.checker import ExplorerCheckError, check_explorer
from waker.model.rssm import Posterior


class Learning(Explorer):
    """One linear layer that learns to predict what it is shown; its faults derive from it."""

    def __init__(self, model: Any, action_dim: int, config: Any, settings: Any) -> None:
        super().__init__(model, action_dim, config, settings)
        self.width = model.rssm.feature_dim
        self.net = nn.Linear(self.width, self.width)

    def error(self, feature: Tensor) -> Tensor:
        return (self.net(feature) - feature).square().mean(-1)

    def reward(self, feature: Tensor, action: Tensor) -> Tensor | None:
        return self.error(feature)

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor | None:
        return self.error(posterior.state.feature.detach()).mean()


class KeepsTheModel(Learning):
    def __init__(self, model: Any, *others: Any) -> None:
        super().__init__(model, *others)
        self.model = model


class OneNumberAStep(Learning):
    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        return self.error(feature).mean(1)


class NotFinite(Learning):
    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        return self.error(feature) / 0.0


class OverItsArguments(Learning):
    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        return self.error(feature.mul_(2.0))


class CountsInReward(Learning):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("seen", torch.zeros(()))

    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        self.seen += 1
        return self.error(feature)


class NormalisesAcross(Learning):
    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        error = self.error(feature)
        return error / error.mean(1, keepdim=True)


class NobodyTrains(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> None:
        return None


class LossPerStep(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        return self.error(posterior.state.feature.detach())


class IntoTheModel(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        return self.error(posterior.state.feature).mean()


class Detached(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        return self.error(posterior.state.feature).mean().detach()


class OverTheBatch(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor | None:
        batch["task_rewards"].zero_()
        return super().loss(posterior, batch)


class Forgets(Learning):
    """Its running mean is a plain attribute, which no checkpoint holds."""

    scale_seen: Tensor | float = 1.0

    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        return self.error(feature) / self.scale_seen

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor | None:
        self.scale_seen = self.error(posterior.state.feature).mean().detach()
        return super().loss(posterior, batch)


class ReadsBack(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        error = self.error(posterior.state.feature.detach()).mean()
        return error if error.item() > 0.0 else error * 2.0


class ShapeOfData(Learning):
    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        return self.error(posterior.state.feature.detach()[~batch["is_first"]]).mean()


class Raises(Learning):
    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        raise KeyError("nothing")


FAULTS = {
    KeepsTheModel: "keeps the world model",
    OneNumberAStep: r"reward must return \(H\+1, N\), here \(5, 7\), one number a state, not \(5,\)",
    NotFinite: "numbers that are not finite",
    OverItsArguments: "reward changes feature or action",
    CountsInReward: "update running statistics in loss",
    NormalisesAcross: "depends on which others are imagined beside it",
    NobodyTrains: r"has 2 parameters that require a gradient and no loss",
    LossPerStep: r"loss must be 0-dim, the mean over the batch, not \(3, 6\)",
    IntoTheModel: r"a gradient into the world model; take \.detach\(\)",
    Detached: "no gradient comes from loss",
    OverTheBatch: "loss changes the batch",
    Forgets: "neither a parameter nor a buffer",
    ReadsBack: "reads a value back to the host",
    ShapeOfData: "has a shape that depends on data",
    Raises: "reward raises KeyError: 'nothing'",
}


@pytest.mark.parametrize("name", ["plan2explore", "latent-disagreement", "rnd", "random"])
def test_ours_keep_their_promises(name: str) -> None:
    check_explorer(name)


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_told(kind: type[Explorer]) -> None:
    check_explorer(Learning)
    with pytest.raises(ExplorerCheckError, match=FAULTS[kind]):
        check_explorer(kind)


def test_an_explorer_of_a_file_is_checked_and_what_is_none_is_refused(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "exploration.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(# curious\.py\n.*?)```", page, re.S)
    (tmp_path / "curious.py").write_text(shown, encoding="utf-8")
    check_explorer(f"{tmp_path}/curious.py:Curious")
    with pytest.raises(UserError, match="no subclass"):
        check_explorer(dict)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown explorer"):
        check_explorer("plan")


def test_chance_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_explorer("rnd")
    assert torch.equal(torch.rand(3), expected)
