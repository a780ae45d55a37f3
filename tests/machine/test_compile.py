"""The compiled update is one graph without a break that computes what the eager update does."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from tests.machine.test_cuda_graphs import leaves
from waker.agent.agent import Agent
from waker.behaviour.policy_learner import PolicyGradients
from waker.behaviour.starts import start_states
from waker.config.schema import CompileChoice, Config
from waker.machine.compile import whole
from waker.machine.kernels import log_softmax
from waker.model.distributions import sample_onehot
from waker.model.rssm import Posterior
from waker.specs import EnvSpec

pytestmark = pytest.mark.slow


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


def test_the_laptop_update_compiles_without_a_break_and_agrees_with_the_eager_one() -> None:
    """In bf16; :mod:`tests.agent.test_reference_step` compiles one in fp32, with what autograd makes of it."""
    spec, config = tiny_spec(kinds=("image",), discrete=False), tiny_config("laptop")
    train = replace(config.train, precision="bf16")
    config = replace(config, behaviour=replace(config.behaviour, horizon=2), train=train)
    eager, compiled = pair_of(config, spec)
    update = whole(compiled.update, "eager")
    for seed in range(2):
        batch = tiny_batch(spec, 2, 4, seed)
        (credit, metrics), (again, found) = (step(batch, True) for step in (eager.update, update))
        torch.testing.assert_close(again.error, credit.error, rtol=1e-5, atol=1e-5)
        assert_same_metrics(found, metrics)
    assert_same_names(eager, compiled)


@pytest.mark.parametrize(("recipe", "discrete"), [("laptop", True), ("authors", False)])
def test_gradients_of_a_compiled_update_are_the_eager_ones(recipe: str, discrete: bool) -> None:
    """Part by part: a version of torch once lost the gradient of one autograd.Function, and losses did not tell."""
    spec, config = tiny_spec(discrete=discrete), tiny_config(recipe)
    agent, _ = pair_of(replace(config, behaviour=replace(config.behaviour, horizon=2)), spec)
    batch, found = tiny_batch(spec, 2, 4), []

    def model_part() -> tuple[list[Tensor], Posterior]:
        output = agent.model.loss(batch, True)
        return agent.model_optimizer.gradients(output.loss), output.posterior.detach()

    def policy_part(posterior: Posterior) -> PolicyGradients:
        starts, rewards = start_states(posterior.state, batch, 0), functools.partial(agent._rewards, [], [])
        return agent.policy_learner.gradients(agent.model, starts, rewards, True).without_trajectory()

    def ensemble_part(posterior: Posterior) -> list[Tensor]:
        loss = agent.ensemble.loss(agent.ensemble.predict_steps(posterior, batch), posterior, batch)
        return agent.ensemble_optimizer.gradients(loss)

    for make in (lambda part: part, lambda part: whole(part, "eager")):
        model, posterior = make(model_part)()
        policies = make(policy_part)(posterior)
        found.append([*model, *policies.actor, *policies.critic, *make(ensemble_part)(posterior)])
    for ours, theirs in zip(*found, strict=True):
        size = theirs.abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-5 * size + 1e-9)


def test_adapting_by_a_lookahead_compiles_without_a_break() -> None:
    """By rollouts: the next test."""
    spec, config = tiny_spec(), tiny_config("laptop", after=True)
    assert config.adapt.method == "lookahead"
    config = replace(config, behaviour=replace(config.behaviour, horizon=2))
    results = []
    for agent, backend in zip(pair_of(config, spec), (None, "eager"), strict=True):
        torch.manual_seed(1)  # the adapter's weights, too
        adapter = agent.start_adaptation()
        if backend is not None:
            adapter._learn_heads, adapter._learn_policies = (
                whole(part, backend) for part in (adapter._learn_heads, adapter._learn_policies)
            )
        results.append(agent.adapt_update(tiny_batch(spec, 2, 4)))
    assert_same_metrics(results[1], results[0])


def test_adapting_is_two_graphs_however_many_updates_are_made() -> None:
    """The heads' and the policies': the number of updates and of repeats is in neither."""
    spec, config = tiny_spec(), tiny_config(after=True)
    assert config.adapt.method == "rollouts"
    config = replace(config, behaviour=replace(config.behaviour, horizon=2))
    config = replace(config, train=replace(config.train, adapt_heads=2, adapt_repeats=2))
    adapters = []
    for _ in range(2):
        torch.manual_seed(0)
        adapters.append(Agent(spec, config).start_adaptation())
    eager, compiled = adapters
    heads, policies = compiled._heads_update, compiled._policies_update
    compiled._learn_heads, compiled._learn_policies = whole(heads, "aot_eager"), whole(policies, "aot_eager")
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    for seed in range(5):
        batch, state = tiny_batch(spec, 2, 4, seed), torch.get_rng_state()
        metrics = eager.update(batch)
        torch.set_rng_state(state)
        assert_same_metrics(compiled.update(batch), metrics)
        assert ("actor_loss" in metrics) == (seed >= 2)
    assert graphs["unique_graphs"] - before == 2
    assert compiled.updates == 5
    for a, b in zip(leaves(eager.state_dict()), leaves(compiled.state_dict()), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)


def test_compiled_for_a_cpu_a_function_draws_what_it_drew_and_goes_on_from_a_generators_state() -> None:
    """With inductor itself: its own generator draws other numbers, and seeds would be worth nothing."""

    def draws(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x + torch.rand_like(x), torch.randint(100, (5,)), sample_onehot(log_softmax(x * torch.rand(())))

    x, compiled = torch.randn(7, 5), whole(draws, same_chance=True)

    def three() -> list[Tensor]:
        return [value.clone() for _ in range(3) for value in compiled(x)]

    torch.manual_seed(1)
    first = three()
    state = torch.get_rng_state()
    after = three()
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(three(), after, strict=True))
    torch.manual_seed(1)
    eager = [value for _ in range(3) for value in draws(x)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first, eager, strict=True))
    torch.manual_seed(2)
    assert not any(torch.equal(a, b) for a, b in zip(three(), first, strict=True) if a.is_floating_point())


def pair_of(config: Config, spec: EnvSpec) -> list[Agent]:
    """The same agent twice."""
    agents = []
    for _ in range(2):
        torch.manual_seed(0)
        agents.append(Agent(spec, config))
    return agents


def assert_same_metrics(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same_names(ours: Agent, theirs: Agent) -> None:
    """Names of weights, whatever was compiled."""
    states = [agent.state_dict() for agent in (ours, theirs)]
    parts = [[*state["model"], *state["ensemble"], *state["learner"]["policies"]] for state in states]
    assert parts[0] == parts[1]
    assert not any("_orig_mod" in name for name in parts[1])
    assert [x.shape for x in leaves(states[0])] == [x.shape for x in leaves(states[1])]


@pytest.mark.parametrize("choice", ["off", "compile", "reduce-overhead", "graphs"])
def test_no_choice_changes_the_names_in_a_checkpoint(choice: CompileChoice) -> None:
    spec, config = tiny_spec(), tiny_config()
    chosen = replace(config, train=replace(config.train, compile=choice))
    assert_same_names(Agent(spec, config), Agent(spec, chosen))


def test_a_break_in_the_graph_is_an_error() -> None:
    def breaks(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x.sum()

    with pytest.raises(torch._dynamo.exc.Unsupported):
        whole(breaks, backend="eager")(torch.ones(3))
