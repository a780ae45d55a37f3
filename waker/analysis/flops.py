"""Floating-point operations of an update, by formula from its settings: no network is built, no torch is needed.

Counted as :mod:`torch.utils.flop_counter` does: matrix products and convolutions alone, a multiplication and an
addition as two. A layer that maps r rows of i numbers to o numbers costs 2·r·i·o forward, as much again for its
weights' gradient, and as much again for its input's gradient where something below learns from it. Called by ``waker
scaling``; :func:`waker.training.update_work.update_work` counts the same by running the update without numbers, and
covers what this module does not (:func:`uncounted` names it).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from waker.config.schema import Config
from waker.errors import UserError
from waker.specs import EnvSpec

FORWARD, WEIGHTS, ALL = 1, 2, 3
"""Products of a layer: forward alone; with its weights' gradient; with its input's gradient, too."""


def layer(rows: float, inputs: float, outputs: float, products: int) -> float:
    """FLOP of a linear layer."""
    return products * 2.0 * rows * inputs * outputs


def network(rows: float, sizes: Sequence[int], first: int, others: int) -> float:
    """FLOP of layers one behind the other, of which the first has other gradients than those behind it."""
    pairs = list(itertools.pairwise(sizes))
    return sum(layer(rows, i, o, others if at else first) for at, (i, o) in enumerate(pairs))


def uncounted(spec: EnvSpec, config: Config) -> str:
    """What of these settings the formulas do not cover, in words; empty where they cover all."""
    if config.model.latent == "cells":
        return "a latent in every cell (model.latent cells)"
    if any(key.kind == "image" for key in spec.observation):
        return "pictures"
    if not spec.action.discrete or config.behaviour.gradient == "dynamics":
        return "gradients through the imagined dynamics (continuous actions, or behaviour.gradient dynamics)"
    if config.model.reward_sees != "state" or config.model.reward_draws:
        return "reward heads that see steps, or drawn records"
    if config.explorer.name not in ("plan2explore", "random"):
        return f"the explorer {config.explorer.name}"
    return ""


def update_flops(spec: EnvSpec, config: Config) -> float:
    """FLOP of one update of everything: model, explorer, ensemble, and task policies where they are trained alongside.

    Raises:
        UserError: settings that the formulas do not cover.
    """
    if why := uncounted(spec, config):
        raise UserError(f"the formula for an update's FLOP does not cover {why}")
    return model_flops(spec, config) + policy_flops(spec, config) + ensemble_flops(spec, config)


def feature_size(config: Config) -> int:
    """F: latents and deterministic state side by side."""
    return config.model.stoch * config.model.classes + config.model.deter


def model_flops(spec: EnvSpec, config: Config) -> float:
    """Filtering a batch, decoding, reward and continue heads, and all gradients."""
    c, batch, length = config.model, config.train.batch, config.train.length
    rows, feature, stoch = batch * length, feature_size(config), c.stoch * c.classes
    seen, action = sum(key.size for key in spec.observation), spec.action.dim
    embed = c.encoder_units[-1] if c.encoder_units else seen
    total = network(rows, [seen, *c.encoder_units], WEIGHTS, ALL)
    total += layer(rows, action, c.hidden, WEIGHTS)  # actions are data
    total += layer(rows, embed, c.hidden, ALL if c.encoder_units else WEIGHTS)
    # The first step's state is zero: nothing below it learns.
    total += layer(batch, stoch, c.hidden, WEIGHTS) + layer(rows - batch, stoch, c.hidden, ALL)
    total += layer(rows, c.hidden + c.deter, 3 * c.deter, ALL)
    for inputs, outputs in ((c.deter, c.hidden), (c.hidden, stoch)):
        total += 2 * layer(rows, inputs, outputs, ALL)  # posterior and prior
    total += network(rows, [feature, *c.decoder_units], ALL, ALL)
    total += layer(rows, c.decoder_units[-1] if c.decoder_units else feature, seen, ALL)
    outputs = c.bins if c.reward == "twohot" else 1
    heads = [feature, *c.head_units, outputs]
    total += len(spec.tasks) * network(rows, heads, ALL if c.reward_gradients else WEIGHTS, ALL)
    if c.continue_scale > 0:
        total += network(rows, [feature, *c.continue_units, 1], ALL, ALL)
    return total


def policy_flops(spec: EnvSpec, config: Config) -> float:
    """Imagination under every policy, rewards and values on it, and the gradients of actors and critics."""
    c, b, online = config.model, config.behaviour, config.train.task_policies == "online"
    random = config.explorer.name == "random"
    if random and not online and config.explorer.credit != "imagined":
        return 0.0
    tasks = len(spec.tasks) if online else 0
    every = config.train.batch * config.train.length
    starts = min(b.starts, every) if b.starts else every
    total = _imagined(config, tasks + 1, starts, spec.action.dim)
    feature, action = feature_size(config), spec.action.dim
    head = [feature, *c.head_units, c.bins if c.reward == "twohot" else 1]
    total += tasks * network((b.horizon + 1) * starts, head, FORWARD, FORWARD)
    steps = b.horizon + (config.explorer.action == "authors")
    total += _disagreement(spec, config, steps * starts)
    actor = [feature, *b.actor_units, action]
    taught = b.horizon - (b.baseline == "authors")
    total += (tasks + 1) * network(taught * starts, actor, WEIGHTS, ALL)
    if 0 < b.chunk < starts and b.normalise_returns:
        # The scale of returns is known after the last chunk: objective and entropy are differentiated apart.
        total += (tasks + 1) * network(taught * starts, actor, WEIGHTS - FORWARD, ALL - FORWARD)
    return total + (tasks + 1) * _critic(config, starts)


def _imagined(config: Config, members: int, starts: int, action: int) -> float:
    """The rollouts, without gradient: actors, transitions, priors, and whether episodes go on."""
    c, b = config.model, config.behaviour
    rows, feature, stoch = b.horizon * members * starts, feature_size(config), c.stoch * c.classes
    sizes = [(action, c.hidden), (stoch, c.hidden), (c.hidden + c.deter, 3 * c.deter), (c.deter, c.hidden)]
    total = sum(layer(rows, i, o, FORWARD) for i, o in (*sizes, (c.hidden, stoch)))
    total += network(rows, [feature, *b.actor_units, action], FORWARD, FORWARD)
    if c.continue_scale > 0:
        total += network(rows, [feature, *c.continue_units, 1], FORWARD, FORWARD)
    return total


def _critic(config: Config, starts: int) -> float:
    """One critic: values of all states, its loss, and the slow critic's values."""
    c, b = config.model, config.behaviour
    sizes = [feature_size(config), *b.critic_units, c.bins if b.critic == "twohot" else 1]
    states, taught = (b.horizon + 1) * starts, b.horizon * starts
    if b.slow_target:
        return network(states, sizes, FORWARD, FORWARD) + network(taught, sizes, WEIGHTS, ALL)
    slow = network(taught, sizes, FORWARD, FORWARD) if b.slow_regulariser else 0.0
    return network(states, sizes, WEIGHTS, ALL) + slow


def _member(spec: EnvSpec, config: Config) -> list[int]:
    """Layers of a member of the ensemble."""
    c, e = config.model, config.explorer
    targets = {
        "feature": feature_size(config),
        "deter": c.deter,
        "latent": c.stoch * c.classes,
        "observation": sum(key.size for key in spec.observation),
    }
    return [feature_size(config) + spec.action.dim, *e.units, targets[e.target]]


def _disagreement(spec: EnvSpec, config: Config, rows: int) -> float:
    return config.explorer.heads * network(rows, _member(spec, config), FORWARD, FORWARD)


def ensemble_flops(spec: EnvSpec, config: Config) -> float:
    """The ensemble's predictions of a batch's steps and their gradients."""
    rows = config.train.batch * (config.train.length - 1)
    return config.explorer.heads * network(rows, _member(spec, config), WEIGHTS, ALL)
