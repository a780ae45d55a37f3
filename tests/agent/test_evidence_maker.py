"""What the learner measures for curricula: every field against plain loops, and nothing else changed by measuring."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.agent.test_agent import make, same
from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent import evidence_maker
from waker.agent.agent import Agent, MeasuredCredit
from waker.agent.evidence_maker import APART, EvidenceMaker, halves, seen, spread_starts
from waker.behaviour.imagination import Trajectory
from waker.behaviour.policy_learner import Rollout
from waker.behaviour.starts import start_states
from waker.config.schema import Config
from waker.curriculum.evidence import UPDATE_FIELDS
from waker.curriculum.scores import advantages as formulas
from waker.machine.compile import whole
from waker.model.rssm import Posterior
from waker.seeding import torch_seed

ALL = UPDATE_FIELDS - APART


def of(*, starts: int = 0, credit: Literal["imagined", "replayed"] = "imagined", recipe: str = "tiny") -> Config:
    config = tiny_config(recipe)
    return replace(
        config,
        behaviour=replace(config.behaviour, starts=starts),
        explorer=replace(config.explorer, credit=credit),
    )


def measured(agent: Agent, batch: dict[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    credit, _ = agent.update(batch)
    assert isinstance(credit, MeasuredCredit)
    assert all(not x.requires_grad for x in credit.measured.values())
    return {name: x.numpy().copy() for name, x in credit.measured.items()}


class Watch:
    """Copies of what an update computes on its way: the posterior, start states, and the explorer's rollout."""

    def __init__(self, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before = copy.deepcopy(agent.model), copy.deepcopy(agent.policy_learner.policies)
        self.posteriors: list[Posterior] = []
        self.rollouts: list[Rollout] = []
        self.index: list[Tensor | None] = []
        loss, learn = agent.model.loss, agent.policy_learner.gradients

        def losing(*args: Any) -> Any:
            output = loss(*args)
            self.posteriors.append(output.posterior.detach())
            return output

        def learning(model: Any, starts: Any, *args: Any) -> Any:
            found = learn(model, starts, *args)
            self.rollouts.append(found.rollout)
            self.index.append(starts.drawn)
            return found

        monkeypatch.setattr(agent.model, "loss", losing)
        monkeypatch.setattr(agent.policy_learner, "gradients", learning)


def loop_losses(agent: Agent, model: Any, posterior: Posterior, batch: dict[str, Tensor]) -> Any:
    """Loss, KL and excess of each step (B, T) of categorical observations, by definition."""
    (key,) = agent.spec.observation
    b, t = batch["is_first"].shape
    loss, kl, excess = np.zeros((3, b, t))
    with torch.no_grad():
        logits = model.decoder(posterior.state.feature)[key.name].numpy()
    p, q = (x.exp().numpy().astype(float) for x in (posterior.posterior, posterior.prior))
    for i in range(b):
        for j in range(t):
            kl[i, j] = (p[i, j] * np.log(p[i, j] / q[i, j])).sum()
            excess[i, j] = -(p[i, j] * np.log(q[i, j])).sum() + (q[i, j] * np.log(q[i, j])).sum()
            at, nll = 0, 0.0
            for variable, classes in enumerate(key.classes):
                x = logits[i, j, at : at + classes].astype(float)
                nll -= x[int(batch[key.name][i, j, variable])] - np.log(np.exp(x).sum())
                at += classes
            loss[i, j] = key.weight * nll + kl[i, j]
    return loss, kl, excess


@pytest.mark.parametrize("starts", [0, 7])
def test_losses_are_of_the_steps_that_imagination_starts_from(starts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, batch = make(tiny_spec(), of(starts=starts)), tiny_batch(tiny_spec())
    agent.measure(ALL)
    watch = Watch(agent, monkeypatch)
    found = measured(agent, batch)
    loss, kl, excess = loop_losses(agent, watch.before[0], watch.posteriors[0], batch)
    rows = np.arange(18) if watch.index[0] is None else watch.index[0].numpy()
    assert len(rows) == (starts or 18)
    np.testing.assert_allclose(found["loss"], loss.flatten()[rows], rtol=1e-5)
    np.testing.assert_allclose(found["transition_loss"], kl.flatten()[rows], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["excess"], excess.flatten()[rows], rtol=1e-4, atol=1e-6)
    ids = np.where(batch["is_terminal"].flatten(), -1, batch["theta_id"].flatten())[rows]
    assert found["theta_id"].tolist() == ids.tolist()


def test_without_kl_first_a_first_step_has_no_kl() -> None:
    spec, config = tiny_spec(), of()
    config = replace(config, model=replace(config.model, kl_first=False))
    agent, batch = make(spec, config), tiny_batch(spec)
    agent.measure({"transition_loss"})
    kl = measured(agent, batch)["transition_loss"].reshape(3, 6)
    assert (kl[batch["is_first"]] == 0).all()
    assert (kl[~batch["is_first"]] > 0).all()


@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("starts", [0, 7])
def test_imagined_values_are_the_slow_critic_s_and_returns_end_with_the_episode(
    starts: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = of(starts=starts)
    config = replace(config, behaviour=replace(config.behaviour, chunk=chunk))
    agent, batch = make(tiny_spec(), config), tiny_batch(tiny_spec())
    agent.measure(ALL)
    agent.update(batch)  # live and slow critics are the same before
    watch, trajectories = Watch(agent, monkeypatch), list[Tensor]()
    critic = agent.evidence.explorer_values
    monkeypatch.setattr(agent.evidence, "explorer_values", lambda f: trajectories.append(f.clone()) or critic(f))
    slow = watch.before[1].slow
    found = measured(agent, batch)
    feature = torch.cat([f.detach() for f in trajectories], 1)  # (H + 1, N, F)
    with torch.no_grad():
        flat = feature.flatten(0, 1).expand(3, -1, -1)
        value = slow.predict(flat)[2].view(5, -1).numpy().T.astype(float)  # (N, H + 1)
    reward = watch.rollouts[0].reward[:, 2].detach().numpy().T.astype(float)
    cont = watch.rollouts[0].cont[:, 2].detach().numpy().T.astype(float)
    n, b = len(value), config.behaviour
    for i in range(n):
        alive = [1.0]
        for t in range(4):
            alive.append(alive[-1] * cont[i, t])
        after, returns = value[i, 4], np.zeros(4)
        for t in (3, 2, 1, 0):
            after = reward[i, t] + b.discount * cont[i, t] * ((1 - b.lambda_) * value[i, t + 1] + b.lambda_ * after)
            returns[t] = after
        np.testing.assert_allclose(found["values"][i], np.array(alive) * value[i], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["rewards"][i], np.array(alive[:4]) * reward[i, :4], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found["returns"][i], np.array(alive[:4]) * returns, rtol=1e-4, atol=1e-6)
    # The curricula's formulas, which know γ alone, find the same advantages.
    again = formulas.advantages(found["rewards"], found["values"], b.discount, b.lambda_)
    np.testing.assert_allclose(again, found["returns"] - found["values"][:, :-1], rtol=1e-4, atol=1e-5)
    assert not (cont == 1).all()


def test_disagreement_is_the_credit_itself() -> None:
    agent = make(tiny_spec(), of(starts=7))
    agent.measure({"disagreement"})
    credit, _ = agent.update(tiny_batch(tiny_spec()))
    assert isinstance(credit, MeasuredCredit)
    assert set(credit.measured) == {"disagreement", "theta_id"}
    assert torch.equal(credit.measured["disagreement"], credit.error)
    assert torch.equal(credit.measured["theta_id"], credit.theta_id)


def test_with_replayed_credit_losses_are_of_the_steps_arrived_at(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, batch = make(tiny_spec(), of(starts=7, credit="replayed")), tiny_batch(tiny_spec())
    agent.measure({"loss", "disagreement"})
    watch = Watch(agent, monkeypatch)
    credit, _ = agent.update(batch)
    assert isinstance(credit, MeasuredCredit)
    loss, *_ = loop_losses(agent, watch.before[0], watch.posteriors[0], batch)
    np.testing.assert_allclose(credit.measured["loss"].numpy(), loss[:, 1:].flatten(), rtol=1e-5)
    assert credit.measured["theta_id"].tolist() == credit.theta_id.tolist()


def test_with_replayed_credit_what_is_imagined_is_of_start_states(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, batch = make(tiny_spec(), of(starts=7, credit="replayed")), tiny_batch(tiny_spec())
    agent.measure({"loss", "values"})
    watch = Watch(agent, monkeypatch)
    found = measured(agent, batch)
    rows = watch.index[0]
    assert rows is not None
    loss, *_ = loop_losses(agent, watch.before[0], watch.posteriors[0], batch)
    np.testing.assert_allclose(found["loss"], loss.flatten()[rows], rtol=1e-5)
    ids = np.where(batch["is_terminal"].flatten(), -1, batch["theta_id"].flatten())[rows]
    assert found["theta_id"].tolist() == ids.tolist()
    assert found["values"].shape == (7, 5)


@pytest.mark.parametrize("credit", ["imagined", "replayed"])
def test_who_is_measured_learns_the_same(credit: Literal["imagined", "replayed"]) -> None:
    spec, config = tiny_spec(), of(starts=7, credit=credit)
    plain, watched = make(spec, config), make(spec, config)
    watched.measure(ALL - ({"disagreement"} if credit == "replayed" else set()))
    for seed in range(2):
        batch, chance = tiny_batch(spec, seed=seed), torch.get_rng_state()
        expected = plain.update(batch)
        torch.set_rng_state(chance)
        watched.evidence.apart(APART, batch, seed)
        found, metrics = watched.update(batch)
        assert torch.equal(found.error, expected[0].error)
        assert same(metrics, expected[1])
    assert same(plain.state_dict(), watched.state_dict())


def test_a_compiled_update_measures_what_the_eager_one_does() -> None:
    compiled_measures_alike("imagined")


@pytest.mark.long(
    "tests/agent/test_evidence_maker.py::test_a_compiled_update_measures_what_the_eager_one_does",
    "tests/agent/test_evidence_maker.py::test_who_is_measured_learns_the_same",
    "tests/agent/test_evidence_maker.py::test_what_an_update_measures_needs_no_values",
)
def test_a_compiled_update_with_replayed_credit_does_too() -> None:
    compiled_measures_alike("replayed")


def compiled_measures_alike(credit: Literal["imagined", "replayed"]) -> None:
    torch._dynamo.reset()
    spec, config = tiny_spec(), of(credit=credit)
    config = replace(config, behaviour=replace(config.behaviour, horizon=2))
    asked = ALL - ({"disagreement"} if credit == "replayed" else set())
    eager, compiled = make(spec, config), make(spec, config)
    for agent in (eager, compiled):
        agent.measure(asked)
    update = whole(compiled.update, backend="eager")
    for seed in range(2):
        batch, chance = tiny_batch(spec, 2, 4, seed), torch.get_rng_state()
        (one, _), _ = eager.update(batch, True), torch.set_rng_state(chance)
        two, _ = update(batch, True)
        assert one.measured.keys() == two.measured.keys() == asked | {"theta_id"}
        for name, x in one.measured.items():
            torch.testing.assert_close(two.measured[name], x, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("credit", ["imagined", "replayed"])
def test_what_an_update_measures_needs_no_values(credit: Literal["imagined", "replayed"]) -> None:
    """On torch's ``meta`` device, as :mod:`tests.agent.test_meta` has it for the update itself."""
    asked = ALL - ({"disagreement"} if credit == "replayed" else set())
    with torch.device("meta"):
        agent = Agent(tiny_spec(), of(starts=5, credit=credit), "meta")
    agent.measure(asked)
    found, _ = agent.update({name: x.to("meta") for name, x in tiny_batch(tiny_spec(), 2, 4).items()})
    assert isinstance(found, MeasuredCredit)
    assert {x.shape[0] for x in found.measured.values()} == {5}
    assert {x.device.type for x in found.measured.values()} == {"meta"}


# Apart ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "length", "parts"),
    [
        ([3, 4, 5, 9, 10], 6, ([3, 4, 5], [9, 10])),
        ([0, 6, 7, 8, 9, 12, 13], 6, ([0, 6, 7, 8, 9], [12, 13])),  # 5 and 2 rather than 1 and 6
        ([0, 1, 6, 7], 3, ([0, 1], [6, 7])),
    ],
)
def test_halves_are_of_whole_sequences(steps: list[int], length: int, parts: Any) -> None:
    found = halves(np.array(steps), length)
    assert found is not None
    assert tuple(part.tolist() for part in found) == parts


def test_one_sequence_has_no_halves() -> None:
    assert halves(np.array([6, 7, 8, 9, 10, 11]), 6) is None


def test_gradients_are_those_of_each_half_of_a_theta_s_sequences() -> None:
    agent, batch = make(tiny_spec(), of()), tiny_batch(tiny_spec())
    batch["theta_id"] = torch.tensor([[4, 4, 4, 9, 9, 9], [9] * 6, [2] + [4] * 5], dtype=torch.int32)
    found = agent.evidence.apart({"gradients"}, batch, seed=5)
    assert found["gradients_id"].tolist() == [4, 9]  # θ 2 is in a single sequence
    steps = {4: ([0, 1, 2], [13, 14, 15, 16, 17]), 9: ([3, 4, 5], [6, 7, 8, 9, 10, 11])}
    model = agent.model
    names = [name for name, p in model.rssm.named_parameters() if p.dim() == 1]
    assert len(names) > 5
    for row, parts in enumerate(steps.values()):
        for half, part in enumerate(parts):
            model.zero_grad()
            torch.manual_seed(5)
            posterior = model.observe(batch)
            # By the training loss's own parts, without balance and free nats.
            nll = model.decoder.nll(model.decoder(posterior.state.feature), batch)["cells"]
            p, q = posterior.posterior, posterior.prior
            kl = (p.exp() * (p - q)).sum((-1, -2))
            (2.0 * nll + kl).flatten()[part].mean().backward()
            own = dict(model.rssm.named_parameters())
            expected = torch.cat([torch.zeros_like(own[n]) if own[n].grad is None else own[n].grad for n in names])
            np.testing.assert_allclose(found["gradients"][row, half], expected.numpy(), rtol=1e-4, atol=1e-6)
    model.zero_grad(set_to_none=True)


def test_a_gradient_is_the_slope_of_the_loss() -> None:
    agent, batch = make(tiny_spec(), of()), tiny_batch(tiny_spec())
    batch["theta_id"] = torch.tensor([[0] * 6, [1] * 6, [1] * 6], dtype=torch.int32)
    found = agent.evidence.apart({"gradients"}, batch, seed=5)
    sizes = [(name, p.numel()) for name, p in agent.model.rssm.named_parameters() if p.dim() == 1]
    at = sum(size for name, size in sizes[: [n for n, _ in sizes].index("img_dist.bias")])
    bias = agent.model.rssm.get_parameter("img_dist.bias")  # on it no drawn latent depends
    slopes = []
    for shift in (0.02, -0.02):
        with torch.no_grad():
            bias[3] += shift
            with torch_seed(5):
                loss = agent.model.step_losses(agent.model.observe(batch), batch).loss
            bias[3] -= shift
        slopes.append(loss[1].mean().item())  # the first half of θ 1
    assert found["gradients_id"].tolist() == [1]
    expected = found["gradients"][0, 0, at + 3]
    assert abs((slopes[0] - slopes[1]) / 0.04 - expected) < 1e-3 < abs(expected) / 5


def test_of_many_theta_some_are_drawn() -> None:
    agent, batch = make(tiny_spec(), of()), tiny_batch(tiny_spec(), b=22, t=4)
    batch["theta_id"] = (torch.arange(22) % 11).unsqueeze(1).expand(22, 4).int()
    ids = {tuple(agent.evidence.apart({"gradients"}, batch, seed)["gradients_id"].tolist()) for seed in range(3)}
    assert all(len(chosen) == evidence_maker.MOST_THETA for chosen in ids)
    assert len(ids) > 1


@pytest.mark.parametrize(("b", "t"), [(32, 8), (16, 16), (16, 50), (4, 4), (3, 6), (2, 3)])
def test_start_states_of_sampled_returns_are_spread_over_sequences_and_steps(b: int, t: int) -> None:
    """Evenly spaced in a flattened batch they would all be first steps, where 16 divides B·T as T divides B·T / 16."""
    n, hits = min(16, b * t), np.zeros((b, t))
    for seed in range(200):
        found = spread_starts(b, t, 16, np.random.default_rng(seed))
        assert len(set(found.tolist())) == n
        for index, size in ((found // t, b), (found % t, t)):
            counts = np.bincount(index, minlength=size)
            assert counts.max() - counts.min() <= 1
        hits.reshape(-1)[found] += 1
    assert hits.any(0).all() and hits.any(1).all()
    mean = 200 * n / (b * t)
    assert abs(hits.mean(0) - mean).max() <= 4 * np.sqrt(mean)


def test_sampled_returns_start_from_every_step_of_a_batch() -> None:
    agent, seen = make(tiny_spec(), of()), set()
    batch = tiny_batch(tiny_spec(), 32, 8)
    batch["is_terminal"][:] = False
    batch["theta_id"] = torch.arange(32 * 8).view(32, 8)  # so that a state's id tells where it was
    for seed in range(6):
        found = agent.evidence.apart({"sampled_returns"}, batch, seed)["sampled_returns_id"]
        seen |= set((found % 8).tolist())
    assert seen == set(range(8))


def test_sampled_returns_are_discounted_and_bootstrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, batch = make(tiny_spec(), of()), tiny_batch(tiny_spec())
    agent.measure(())
    agent.update(batch)
    kept: list[Trajectory] = []
    imagine = evidence_maker.imagine
    monkeypatch.setattr(evidence_maker, "imagine", lambda *args: kept.append(imagine(*args)) or kept[-1])
    found = agent.evidence.apart({"sampled_returns"}, batch, seed=3)
    returns, (trajectory,) = found["sampled_returns"], kept
    assert returns.shape == (16, 8)
    expected_ids = start_states(agent.model.observe(batch).state, batch, 0).theta_id.tolist()
    chosen = spread_starts(*batch["theta_id"].shape, 16, np.random.default_rng(3)).tolist()
    ended = batch["is_terminal"].flatten()
    assert found["sampled_returns_id"].tolist() == [-1 if ended[i] else expected_ids[i] for i in chosen]
    with torch.no_grad():
        feature, action = trajectory.feature[:, 2], trajectory.action[:, 2]
        reward = agent.ensemble.intrinsic_reward(feature, action).numpy()
        last = agent.policy_learner.policies.slow.predict(feature[-1:].expand(3, -1, -1))[2].numpy()
        cont = agent.model.continue_probability(feature).numpy()
    for i in range(16):
        for s in range(8):
            n, weight, total = 8 * i + s, 1.0, 0.0
            for t in range(4):
                total += weight * reward[t, n]
                going = float(not ended[chosen[i]]) if t == 0 else cont[t, n]
                weight *= agent.config.behaviour.discount * going
            np.testing.assert_allclose(returns[i, s], total + weight * last[n], rtol=1e-4, atol=1e-6)
    assert (returns.std(1)[found["sampled_returns_id"] >= 0] > 0).all()


def test_measuring_apart_leaves_chance_and_weights() -> None:
    agent, batch = make(tiny_spec(), of()), tiny_batch(tiny_spec())
    state, chance = copy.deepcopy(agent.state_dict()), torch.get_rng_state()
    one, two, three = (agent.evidence.apart(APART, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), chance)
    assert same(state, agent.state_dict())
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["sampled_returns"], three["sampled_returns"])
    assert all(p.grad is None for p in agent.model.parameters())


# Episodes ---------------------------------------------------------------------------------------------------------


def episode(t: int = 7, terminal: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """t + 1 records of one episode."""
    batch = tiny_batch(tiny_spec(), 1, t + 1, seed=4)
    records = {name: x[0].numpy().copy() for name, x in batch.items()}
    records["is_first"][:], records["is_terminal"][:] = False, False
    records["is_first"][0], records["is_terminal"][-1] = True, terminal
    records["task_rewards"][0] = 0.0
    return records


FIELDS = (
    "disagreement",
    "loss",
    "transition_loss",
    "excess",
    "rewards",
    "values",
    "features",
    "observations",
    "task_rewards",
    "task_values",
)


@pytest.mark.parametrize("terminal", [False, True])
def test_an_episode_is_filtered_once_and_read_along_its_steps(terminal: bool) -> None:
    agent, records = make(tiny_spec(), of()), episode(terminal=terminal)
    agent.update(tiny_batch(tiny_spec()))
    found = agent.evidence.of_episode(FIELDS, records, seed=2, task=1)
    batch = {name: torch.as_tensor(x).unsqueeze(0) for name, x in records.items()}
    with torch_seed(2):
        posterior = agent.model.observe(batch)
        feature, action = posterior.state.feature[0], batch["action"][0]
        loss, kl, excess = loop_losses(agent, agent.model, posterior, batch)
        slow = agent.policy_learner.policies.slow.predict(feature.expand(3, -1, -1)).numpy()
        apart = [agent.ensemble.disagreement(feature[t : t + 1], action[t + 1 : t + 2]).item() for t in range(7)]
    np.testing.assert_allclose(found["loss"], loss[0, 1:], rtol=1e-5)
    np.testing.assert_allclose(found["transition_loss"], kl[0, 1:], rtol=1e-4)
    np.testing.assert_allclose(found["excess"], excess[0, 1:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["disagreement"], apart, rtol=1e-4)
    # The disagreement about a step is the reward of the state arrived in.
    np.testing.assert_allclose(found["rewards"], [0.0, *apart[:6]], rtol=1e-4)
    np.testing.assert_allclose(found["values"], [*slow[2, :7], apart[6] if terminal else slow[2, 7]], rtol=1e-4)
    np.testing.assert_allclose(found["task_rewards"], records["task_rewards"][:7, 1])
    last = records["task_rewards"][7, 1] if terminal else slow[1, 7]
    np.testing.assert_allclose(found["task_values"], [*slow[1, :7], last], rtol=1e-4, atol=1e-6)
    expected = np.concatenate([posterior.state.deter[0, :7], records["action"][1:]], 1)
    np.testing.assert_allclose(found["features"], expected, rtol=1e-5, atol=1e-6)
    (key,) = agent.spec.observation
    one_hots = [np.eye(c)[records[key.name][:7, i]] for i, c in enumerate(key.classes)]
    np.testing.assert_array_equal(found["observations"], np.concatenate([*one_hots, records["action"][1:]], 1))
    assert all(x.dtype == np.float64 for x in found.values())


def test_what_is_observed_does_not_move_with_the_model() -> None:
    """Latent features of an episode do: those of a window are of the models of its episodes."""
    agent, records = make(tiny_spec(), of()), episode()
    before = agent.evidence.of_episode(("features", "observations"), records, 2)
    for _ in range(3):
        agent.update(tiny_batch(tiny_spec()))
    after = agent.evidence.of_episode(("features", "observations"), records, 2)
    np.testing.assert_array_equal(after["observations"], before["observations"])
    assert abs(after["features"] - before["features"]).max() > 1e-3


def test_a_picture_is_seen_as_64_means_a_channel() -> None:
    spec = tiny_spec(kinds=("image",), discrete=False)
    (key,) = spec.observation
    picture = torch.randint(256, (1, 2, *key.shape), dtype=torch.uint8)
    found = seen(spec.observation, {key.name: picture}).numpy()
    assert found.shape == (2, 64 * key.shape[2])
    block = -(-key.shape[0] // 8)
    first = picture[0, 0, :block, :block, 0].double().mean() / 255
    np.testing.assert_allclose(found[0, 0], first, rtol=1e-5)


def test_a_long_episode_is_encoded_and_decoded_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, records = make(tiny_spec(), of()), episode(10)
    at_once = agent.evidence.of_episode(FIELDS, records, 2, 0)
    monkeypatch.setattr(evidence_maker, "_BLOCK", 4)
    in_blocks = agent.evidence.of_episode(FIELDS, records, 2, 0)
    for name, x in at_once.items():
        np.testing.assert_allclose(in_blocks[name], x, rtol=1e-5, atol=1e-6, err_msg=name)


def test_an_episode_s_record_holds_what_is_asked_for_and_draws_nothing() -> None:
    agent = make(tiny_spec(), of())
    chance = torch.get_rng_state()
    assert set(agent.evidence.of_episode(("loss", "values"), episode(), 2)) == {"loss", "values"}
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_every_observation_and_action_is_measured(kind: str) -> None:
    spec = tiny_spec(kinds=(kind,), discrete=False)
    agent, batch = make(spec, of(recipe="laptop")), tiny_batch(spec)
    agent.measure(ALL)
    found = measured(agent, batch) | agent.evidence.apart(APART, batch, 0)
    records = {name: x[1].numpy() for name, x in batch.items()}
    found |= agent.evidence.of_episode(FIELDS, records, 0, 0)
    assert all(np.isfinite(x).all() for x in found.values())


# What cannot be measured ------------------------------------------------------------------------------------------


def test_what_is_not_given_says_why() -> None:
    def maker(config: Config) -> EvidenceMaker:
        return make(tiny_spec(), config).evidence

    assert maker(of()).missing(("a",)) == {}
    after = maker(tiny_config(after=True)).missing(("a",))
    assert set(after) == {"task_rewards", "task_values"}
    assert "train.task_policies = online" in after["task_rewards"]
    config = of()
    random = maker(replace(config, explorer=replace(config.explorer, name="random"))).missing(("a",))
    assert set(random) == {"rewards", "values", "returns", "sampled_returns"}
    assert "explorer" in random["values"]
    mixed = maker(of(credit="replayed")).missing(("a",), {"disagreement", "values"})
    assert "explorer.credit" in mixed["disagreement"]
    assert not maker(of(credit="replayed")).missing(("a",), {"disagreement", "loss"})
