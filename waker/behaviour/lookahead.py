"""Learning discrete policies by one imagined step of every action, in place of gradients of imagined rollouts.

Used by :class:`waker.agent.task_adapter.TaskAdapter` with ``adapt.method = "lookahead"``. A softmax policy's gradient
is weighted by the policy itself, so an action that has become unlikely hardly ever comes back. The gradient of a fit to
the Boltzmann policy of the values has no such factor (as in MPO, Abdolmaleki et al. 2018, arXiv 1806.06920, eq. 10).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.policy_learner import PolicyGradients, PolicyLearner, RewardFunction, Rollout
from waker.behaviour.starts import Starts
from waker.config.schema import AdaptConfig, BehaviourConfig
from waker.machine.precision import Precision
from waker.model.rssm import State
from waker.model.world_model import WorldModel


def lookahead_behaviour(behaviour: BehaviourConfig, adapt: AdaptConfig) -> BehaviourConfig:
    """The actors' and critics' settings: as of ``behaviour`` but for what the lookahead has of its own."""
    return replace(
        behaviour,
        actor_units=adapt.units or behaviour.actor_units,
        critic_units=adapt.units or behaviour.critic_units,
        critic=adapt.critic,
        discount=adapt.discount,
        slow_target=True,
        slow_every=1,
        slow_rate=adapt.slow_rate,
        slow_regulariser=0.0,
    )


class LookaheadLearner(PolicyLearner):
    """Fits each actor to the Boltzmann policy of its action values, and each critic to that policy's value.

    Q(s, a) = r(s, a, s') + γ·c(s')·v(s') for one imagined s' of each action, v from the slow critic, c the probability
    that the episode goes on after s'. The target policy is p(a|s) ∝ exp(Q(s, a) / (τ·range of values)); the actor's
    loss is its cross-entropy, the critic's target Σ_a p(a|s)·Q(s, a). A value leaves out the reward of the state
    itself, unlike that of :class:`PolicyLearner`. States are a batch's and those that policies lead to from there:
    where an explorer seldom stands (on the tile of a task) a policy must know that it should stay.

    Args:
        config: of the stack, see :func:`lookahead_behaviour`.
        adapt: temperature τ and horizon.

    Raises:
        ValueError: actions are continuous.
    """

    def __init__(
        self,
        policies: ActorCriticStack,
        config: BehaviourConfig,
        adapt: AdaptConfig,
        precision: Precision | None = None,
    ) -> None:
        if not policies.discrete:
            raise ValueError("a lookahead tries every action: there are too many continuous ones")
        super().__init__(policies, config, precision)
        self.temperature, self.horizon = adapt.temperature, adapt.horizon

    def gradients(
        self, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool = False
    ) -> PolicyGradients:
        """Imagine one step of every action, and differentiate every actor's and critic's loss.

        Args:
            starts: N start states.
            reward_of: rewards (1, M, n) of a trajectory whose n states, (1, 1, n, F), all members share; it says where
                they came from.
        """
        policies = self.policies
        with self.precision():
            state, cont = self._visited(model, starts, mode)
            with torch.no_grad():
                feature = policies.see(state.feature).unsqueeze(0)  # N D -> 1 N D, shared by all members
            parameters = policies.actor(feature)
            with torch.no_grad():
                q, rollout = self._action_values(model, state, reward_of, mode)  # (M, N, A)
                scale = self._return_scale(self.range)
                target = torch.softmax(q / (self.temperature * scale).view(-1, 1, 1), -1)
                value = (target * q).sum(-1)
            actor_loss = -(cont * policies.log_prob(parameters, target)).mean(1)
            predicted = policies.critic(feature)
            critic_loss = (cont * policies.critic.nll(predicted, value)).mean(1)
        metrics = {
            "actor_loss": actor_loss,
            "actor_ent": policies.entropy(parameters).mean(1),
            "critic_loss": critic_loss,
            "critic": policies.critic.mean(predicted).mean(1),
            "critic_target": value.mean(1),
            "reward_mean": rollout.reward.mean((0, 2)),
            "reward_std": rollout.reward.std((0, 2), correction=0),
            "return_scale": scale,
        }
        return PolicyGradients(
            rollout,
            self.actor_optimizer.gradients(actor_loss.sum()),
            self.critic_optimizer.gradients(critic_loss.sum()),
            self._return_range(value.unsqueeze(0)),
            {name: metric.detach() for name, metric in metrics.items()},
        )

    @torch.no_grad()
    def _visited(self, model: WorldModel, starts: Starts, mode: bool) -> tuple[State, Tensor]:
        """The start states and those that follow for ``horizon`` steps, each under one of the members drawn for it.

        Returns:
            N·(H+1) states, and the probability that the episode goes on after each and all before it.
        """
        policies, state, cont = self.policies, starts.state, starts.cont
        states, survived = [state], [cont]
        n = len(cont)
        member = torch.randint(policies.members, (1, n, 1), device=cont.device).expand(1, n, policies.action_dim)
        for _ in range(self.horizon):
            actions = policies.sample(policies.actor(policies.see(state.feature).unsqueeze(0)), mode)
            state = model.rssm.imagine(state, actions.gather(0, member).squeeze(0), mode)
            cont = cont * model.continue_probability(state.feature)
            states.append(state)
            survived.append(cont)
        return State(*(torch.cat(parts) for parts in zip(*states, strict=True))), torch.cat(survived)

    def _action_values(
        self, model: WorldModel, state: State, reward_of: RewardFunction, mode: bool
    ) -> tuple[Tensor, Rollout]:
        """Q (M, N, A), and the rewards and continue probabilities (1, M, N·A) it is made of."""
        actions, n = self.policies.action_dim, len(state.deter)
        stoch, deter = (x.repeat_interleave(actions, 0) for x in state)  # n d -> (n a) d
        action = torch.eye(actions, device=stoch.device, dtype=stoch.dtype).repeat(n, 1)
        before = State(stoch, deter)
        feature = model.rssm.imagine(before, action, mode).feature.unsqueeze(0)  # 1 (n a) F
        # Where a policy leads plays no part in one step: all members share the next states.
        origin = before.feature[None, None]
        shared = Trajectory(feature.unsqueeze(0), action[None, None], action[None, None], origin)
        reward = reward_of(shared)  # (1, M, N·A)
        cont = model.continue_probability(feature)  # (1, N·A)
        q = reward[0] + self.config.discount * cont * self.policies.slow.predict(self.policies.see(feature))
        return rearrange(q, "m (n a) -> m n a", a=actions), Rollout(None, reward, cont.unsqueeze(0).expand_as(reward))
