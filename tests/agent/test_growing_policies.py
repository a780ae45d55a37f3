"""ReST and self-rewarding on a ring that is known exactly: what is grown, what is kept, and what is learned of it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.helpers.known_dynamics import RingModel
from tests.helpers.ring import CELLS, SLIPS
from waker.agent.growing_policy import GrowingPolicy
from waker.agent.grown import grow
from waker.agent.rest_policy import RestPolicy, RestSettings
from waker.agent.self_policy import SelfPolicy, SelfSettings
from waker.behaviour.imagination import Trajectory
from waker.behaviour.starts import Starts
from waker.config.presets import preset
from waker.model.rssm import State
from waker.specs import ActionSpec

GOAL, HORIZON = 3, 4
SMALL: dict[str, Any] = {"clone": 0, "candidates": 16, "horizon": HORIZON, "lr": 3e-3, "starts": 10}
SPEC = cast(Any, SimpleNamespace(action=ActionSpec(2, True)))


class Known(RingModel):
    """The ring with a trap in cell 0, as the methods ask a world model."""

    features = CELLS + CELLS + len(SLIPS)
    where = None

    def __init__(self) -> None:
        super().__init__(trap=True)

    def parameters(self) -> Iterator[Tensor]:
        yield torch.zeros(1)


def starts(number: int = 0) -> Starts:
    """Every cell but the trap, without slip and with it."""
    cell = torch.arange(1, CELLS).repeat(2)
    stoch = torch.nn.functional.one_hot(cell, CELLS).float()
    level = torch.nn.functional.one_hot(torch.tensor([0, 1]), len(SLIPS)).float().repeat_interleave(CELLS - 1, 0)
    return Starts(State(stoch, torch.cat([stoch, level], -1)), torch.ones(10), torch.zeros(10, dtype=torch.int64))


def at_goal(trajectory: Trajectory) -> Tensor:
    return trajectory.feature[..., GOAL]


def policy(kind: type[GrowingPolicy], settings: Any) -> GrowingPolicy:
    torch.manual_seed(0)
    config = preset("tiny").with_(**{"behaviour.actor_units": (32,)})
    made = kind(cast(Any, Known()), SPEC, config, "goal", settings, None, 5)
    made.teach_from(starts, at_goal)
    return made


def right(made: GrowingPolicy) -> Tensor:
    """P(right) in every cell of :func:`starts`."""
    with torch.no_grad():
        parameters = made.policies.actor(starts().state.feature.unsqueeze(0))
        ones = torch.tensor([0.0, 1.0]).expand(1, 10, 2)
        return made.policies.log_prob(parameters, ones)[0].exp()


def test_candidates_begin_at_their_starts_end_in_the_trap_and_are_scored_while_they_live() -> None:
    made = policy(RestPolicy, RestSettings(**SMALL))
    found, longer = (grow(made.model, made.policies, starts(), at_goal, 16, h, 7) for h in (HORIZON, HORIZON + 1))
    assert found.feature.shape == (10, 16, HORIZON, Known.features) and found.score.shape == (10, 16)
    torch.testing.assert_close(longer.feature[:, :, :HORIZON], found.feature)
    first = starts().state.feature
    torch.testing.assert_close(found.feature[:, :, 0], first.unsqueeze(1).expand(-1, 16, -1))
    cells = longer.feature[..., :CELLS].argmax(-1)  # (10, 16, H + 1)
    assert (cells == 0).any()
    for n in range(10):
        for c in range(16):
            path, total, alive = cells[n, c].tolist(), 0.0, 1.0
            for t in range(HORIZON):
                alive *= path[t] != 0
                assert found.alive[n, c, t] == alive
                total += alive * (path[t + 1] == GOAL)
                if alive and path[t + 1] != path[t]:
                    step = 1 if found.action[n, c, t, 1] == 1 else -1
                    assert path[t + 1] == (path[t] + step) % CELLS
            assert found.score[n, c] == total


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RestPolicy, RestSettings(**SMALL, rounds=4, steps=15)),
        (SelfPolicy, SelfSettings(**SMALL, rounds=8, steps=15, beta=0.5)),
    ],
)
def test_it_learns_the_way_to_the_goal(kind: type[GrowingPolicy], settings: Any) -> None:
    made = policy(kind, settings)
    before = grow(made.model, made.policies, starts(), at_goal, 64, HORIZON, 9).score.mean()
    proxy = []
    for _ in range(settings.total):
        proxy.append(made.update(lambda: cast(Any, None))["proxy"].item())
    after = grow(made.model, made.policies, starts(), at_goal, 64, HORIZON, 9).score.mean()
    chance = right(made)
    for level in range(2):
        assert chance[5 * level : 5 * level + 2].min() > 0.6 and chance[5 * level + 3 : 5 * level + 5].max() < 0.4
    assert after > before + 0.3 and proxy[-1] > proxy[0]
    assert all(value.is_leaf for value in made.policies.actor.parameters())


def test_the_candidates_of_a_round_stay_and_those_of_the_next_are_of_the_new_policy() -> None:
    settings = RestSettings(**SMALL, rounds=2, steps=2, levels=(50.0,))
    made = policy(RestPolicy, settings)
    seen = []
    for _ in range(settings.total):
        made.update(lambda: cast(Any, None))
        seen.append(made.grown((made.updates - 1) // settings.per_round).score)
    assert seen[0] is seen[1] and seen[2] is seen[3] and not torch.equal(seen[1], seen[2])


def test_a_judge_that_sees_no_difference_teaches_nothing() -> None:
    for kind, settings in ((RestPolicy, RestSettings(**SMALL)), (SelfPolicy, SelfSettings(**SMALL))):
        made = policy(kind, settings)  # type: ignore[type-abstract]
        made.teach_from(starts, lambda path: 0.01 * path.feature[..., GOAL])
        before = [p.clone() for p in made.policies.actor.parameters()]
        assert made.update(lambda: cast(Any, None))["kept_share"] == 0
        assert all(torch.equal(a, b) for a, b in zip(before, made.policies.actor.parameters(), strict=True))


def test_the_learning_rate_falls_within_a_round() -> None:
    made = policy(RestPolicy, RestSettings(**SMALL, steps=2, levels=(50.0, 60.0, 70.0), lower=0.5))
    rates = [made._rate(n) / 3e-3 for n in range(8)]
    assert rates == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 1, 1])
