"""The compiled update is one graph, and computes what the eager one does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent import Agent
from waker.compiled import whole


@pytest.fixture(autouse=True)
def clean() -> None:
    torch.set_num_threads(1)
    torch._dynamo.reset()


def test_the_whole_update_compiles_without_a_break_and_agrees_with_the_eager_one() -> None:
    spec, config = tiny_spec(kinds=("image",), discrete=False), tiny_config("authors")
    config = replace(config, behaviour=replace(config.behaviour, horizon=2))
    agents = []
    for _ in range(2):
        torch.manual_seed(0)
        agents.append(Agent(spec, config))
    eager, compiled = agents
    update = whole(compiled.update, backend="eager")
    state = torch.get_rng_state()
    for seed in range(2):
        batch = tiny_batch(spec, 2, 4, seed)
        credit, metrics = eager.update(batch, True)
        again, found = update(batch, True)
        torch.testing.assert_close(again.error, credit.error, rtol=1e-5, atol=1e-6)
        assert found.keys() == metrics.keys()
        for name, value in metrics.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert torch.equal(torch.get_rng_state(), state)  # with modes for samples nothing is drawn, compiling included
    for (name, a), (same, b) in zip(eager.model.state_dict().items(), compiled.model.state_dict().items(), strict=True):
        assert name == same
        assert "_orig_mod" not in name
        torch.testing.assert_close(b, a, rtol=0.0, atol=1e-6, msg=name)


def test_a_break_in_the_graph_is_an_error() -> None:
    def breaks(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x.sum()

    with pytest.raises(torch._dynamo.exc.Unsupported):
        whole(breaks, backend="eager")(torch.ones(3))
