"""What a run takes at least, from its settings alone: what cannot fit is refused before anything is made or trained.

Every number here is a lower bound: weights with their gradients and optimisers are counted exactly (on torch's ``meta``
device, where nothing is allocated), of an update only the largest arrays that it cannot do without, of an evaluation
its plan and its rows. So a run that is refused cannot work, and one that is not may still be too large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from waker.agent.agent import Agent
from waker.collection.family import Family
from waker.config.schema import Config
from waker.errors import UserError
from waker.machine.free_memory import free_memory
from waker.replay.memory import amount, check_room, record_bytes
from waker.replay.ring import record_fields
from waker.specs import EnvSpec
from waker.storage.state_shapes import tensors_of
from waker_envs.predictions import LARGEST_JOINT

_FLOAT = 4
_PRIORITY = 20
"""Bytes of a step's priority, its visits, and its priority among those that a draw may begin at."""
_ROW = 500
"""Bytes of a row of measurements, or of a planned episode with its θ, at least."""
_SLOT = 10_000
"""Bytes of an environment, at least."""
_PROCESS = 30_000_000
"""Bytes of a worker process, at least."""


_SMALL = 0.25
"""Share of the free memory below which weights are not counted exactly."""


class Need(NamedTuple):
    """Something that takes memory: what, how many bytes at least, and the settings that say so."""

    what: str
    bytes: float
    settings: str


def check_run(config: Config, family: Family, folder: Path | None = None) -> None:
    """Refuse a training run that cannot fit, its replay and its evaluation included.

    Args:
        folder: of the run, which may not exist yet; None = the replay is not asked for.

    Raises:
        UserError: see :func:`check_fits`; or the disk has no room for the replay.
    """
    spec = family.spec
    if folder is not None:
        check_room(record_fields(spec), config.train.envs, config.train.replay, folder)
    learning = [*weights(config, spec), *training(config, spec)]
    if torch.device(config.device).type == "cpu":
        check_fits([*learning, *hosting(config), *evaluation(config, family)])
        return
    check_fits(learning, config.device)
    check_fits([*hosting(config), *evaluation(config, family)])


def weights(config: Config, spec: EnvSpec) -> list[Need]:
    """Weights of all nets, their gradients and what their optimisers keep; nothing for nets that are small anyway.

    Counting them takes torch seconds at its first time, which a run of minutes should not wait for.

    Raises:
        UserError: a net of a size that no machine can count in 64 bits.
    """
    room = _room(config.device)
    if room is None or _guess(config, spec) < _SMALL * room:
        return []
    train = replace(config.train, compile="off", precision="fp32")
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            agent = Agent(spec, replace(config, device="meta", train=train), "meta")
            if config.train.task_policies == "after" and config.train.adapt_updates:
                agent.start_adaptation()
    except UserError:
        raise
    except (RuntimeError, OverflowError, TypeError) as error:  # torch's words for a size past 64 bits
        sizes = {"model": config.model, "behaviour": config.behaviour, "explorer": config.explorer}
        largest = max(_sizes(sizes), key=lambda item: item[1])
        raise UserError(
            f"the nets cannot be made: {largest[0]} = {largest[1]} is too large ({str(error).splitlines()[0]})"
        ) from error
    parts = agent.model, agent.ensemble, agent.exploration, agent.policy_learner.policies
    gradients = [parameter for part in parts for parameter in part.parameters()]
    total = sum(tensor.numel() * tensor.element_size() for tensor in (*tensors_of(agent.state_dict()), *gradients))
    return [Need("weights and optimisers", total, "model.*, behaviour.*_units and explorer.*")]


def training(config: Config, spec: EnvSpec) -> list[Need]:
    """An update's batch, states and imagined states."""
    model, behaviour, explorer, train = config.model, config.behaviour, config.explorer, config.train
    feature = _state(config, spec)
    states = train.batch * train.length
    width = 2 * feature + model.hidden + (0 if model.reward_draws else _heads(config, spec))
    record = record_bytes(record_fields(spec))
    at_once = min(behaviour.starts or states, states)
    at_once = min(behaviour.chunk or at_once, at_once)
    members = len(spec.tasks) + 1 if train.task_policies == "online" else 1
    imagined = at_once * behaviour.horizon * members * (feature + sum(behaviour.actor_units))
    needs = [
        Need("a batch", states * (record + _FLOAT * width), "train.batch, train.length and model.*"),
        Need("imagined states", _FLOAT * imagined, "behaviour.horizon, starts and chunk"),
        Need("rewards drawn", _FLOAT * model.reward_draws * _heads(config, spec), "model.reward_draws and head_units"),
        Need("the ensemble's predictions", _FLOAT * states * explorer.heads * sum(explorer.units), "explorer.*"),
    ]
    if config.replay.choice == "curious":
        needs.append(
            Need("priorities of the replay", _PRIORITY * train.replay, "train.replay with replay.choice curious")
        )
    if train.task_policies == "after" and train.adapt_updates:
        batch = train.adapt_batch * train.length * (record + 2 * _FLOAT * feature)
        needs.append(Need("a batch of adaptation", batch, "train.adapt_batch and train.length"))
    return needs


def _heads(config: Config, spec: EnvSpec) -> int:
    """Numbers of one record in the reward heads: what they see of a step, and their hidden layers."""
    model = config.model
    seen = 2 * _state(config, spec) + spec.action.dim if model.reward_sees != "state" else 0
    return seen + sum(model.head_units) * len(spec.tasks)


def _state(config: Config, spec: EnvSpec) -> int:
    """Numbers of a latent state: of every cell, where the grid is kept."""
    model = config.model
    cells = spec.board.size if model.latent == "cells" and spec.board is not None else 1
    return cells * (model.deter + model.stoch * model.classes)


def hosting(config: Config) -> list[Need]:
    """Environments and their processes."""
    train = config.train
    return [
        Need("environments", _SLOT * train.envs, "train.envs"),
        Need("worker processes", _PROCESS * min(train.env_processes, train.envs), "train.env_processes"),
    ]


def evaluation(config: Config, family: Family) -> list[Need]:
    """An evaluation's plan, its rows, and the samples behind one prediction."""
    asked, model, spec, space = config.evaluation, config.model, family.spec, family.space
    episodes = asked.episodes + asked.suite_episodes * len(space.suites)
    measured = min(space.size or 64, 64)
    # Of every sample at the same time: the state before and after, what is decoded from it, and its joint.
    sample = 2 * _state(config, spec) + sum(model.decoder_units)
    for key in spec.observation:
        joint = math.prod(key.classes) if key.classes else 0
        sample += (sum(key.classes) if key.classes else math.prod(key.shape)) + (joint if joint <= LARGEST_JOINT else 0)
    return [
        Need("episodes and their rows", _ROW * episodes * len(spec.tasks), "evaluation.episodes and suite_episodes"),
        Need("plans and their rows", _ROW * asked.planned_episodes * len(spec.tasks), "evaluation.planned_episodes"),
        Need("held-out episodes", _ROW * asked.model_episodes * measured, "evaluation.model_episodes"),
        Need("samples of a prediction", _FLOAT * asked.samples * sample, "evaluation.samples"),
        Need("steps of a prediction", _FLOAT * asked.horizon * spec.action.dim, "evaluation.horizon"),
    ]


def check_fits(needs: Iterable[Need], device: str = "cpu") -> None:
    """Compare what is needed at least with what is free.

    Args:
        needs: all that is held at the same time.
        device: where it is held.

    Raises:
        UserError: it cannot fit; the message names the largest need, and its settings.
    """
    found = list(needs)
    total = sum(need.bytes for need in found)
    room = _room(device)
    if room is None or total <= room:
        return
    largest = max(found, key=lambda need: need.bytes)
    raise UserError(
        f"these settings take at least {amount(total)} of memory, and {amount(room)} are free"
        f"{'' if torch.device(device).type == 'cpu' else ' on ' + device}: {largest.what} alone take "
        f"{amount(largest.bytes)} ({largest.settings})"
    )


def _guess(config: Config, spec: EnvSpec) -> int:
    """Bytes of weights and optimisers, rather too many: as if every layer were as wide as all of them together."""
    model, behaviour, explorer = config.model, config.behaviour, config.explorer
    layers = (model.encoder_units, model.decoder_units, model.head_units, model.continue_units)
    width = model.deter + model.hidden + model.stoch * model.classes + sum(map(sum, layers))
    width += (model.deter + model.stoch * model.classes) * (model.reward_sees != "state")
    width += sum(behaviour.actor_units) + sum(behaviour.critic_units) + sum(explorer.units)
    width += model.bins * (model.reward == "twohot" or behaviour.critic == "twohot")
    width += sum(sum(key.classes) if key.classes else math.prod(key.shape[-1:]) for key in spec.observation)
    if any(key.kind == "image" for key in spec.observation):
        width += 32 * model.cnn_depth  # 2 × 2 places of eight times as many channels
    return 4 * _FLOAT * width**2 * (1 + explorer.heads + len(spec.tasks))


def _room(device: str) -> int | None:
    where = torch.device(device)
    if where.type == "cuda":
        return int(torch.cuda.mem_get_info(where)[0])
    return free_memory() if where.type == "cpu" else None


def _sizes(sections: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number of some sections of the settings, by name."""
    for section, values in sections.items():
        for name, value in vars(values).items():
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int):
                    yield f"{section}.{name}", number
